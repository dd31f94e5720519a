/// Bodies of requests that are larger than a record.
mod uploads;
