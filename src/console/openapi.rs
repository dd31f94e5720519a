//! `GET /openapi.json`: the management API as OpenAPI 3.1 describes it. A test holds it against the paths that are served.

use actix_web::HttpResponse;
use serde_json::{Map, Value, json};

/// What may be sent to one path by one method.
struct Operation {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    /// Parameters of the query, each with what it says.
    query: &'static [(&'static str, &'static str)],
    /// Members of the body, each with its JSON type and what it says; empty: the body does not matter.
    body: &'static [(&'static str, &'static str, &'static str)],
    who: Who,
}

/// Who may send it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Everybody.
    Anybody,
    /// Whoever has the token, or, where there is none, whoever calls the host by an allowed name.
    Reader,
    /// Whoever has the token. Without one, nobody.
    Operator,
}

const fn get(path: &'static str, who: Who, summary: &'static str) -> Operation {
    Operation {
        method: "GET",
        path,
        summary,
        query: &[],
        body: &[],
        who,
    }
}

const fn post(path: &'static str, summary: &'static str) -> Operation {
    Operation {
        method: "POST",
        path,
        summary,
        query: &[],
        body: &[],
        who: Who::Operator,
    }
}

const OPERATIONS: &[Operation] = &[
    get("/health", Who::Anybody, "Ready, or 503 with the reasons why not."),
    get("/health/live", Who::Anybody, "The process turns."),
    get("/health/ready", Who::Anybody, "Ready, or 503 with the reasons why not."),
    get("/metrics", Who::Reader, "Metrics as Prometheus text."),
    get("/status", Who::Reader, "The state of topics, workers and actors."),
    post("/topics/{name}/pause", "Stops the intake of a topic in this process."),
    post("/topics/{name}/resume", "Starts the intake of a topic again."),
    Operation {
        method: "PUT",
        body: &[("level", "string", "As `log.level`: `debug`, or `actix_khp=debug,info`.")],
        ..post(
            "/log/level",
            "Changes what is logged, until another `log.level` is configured or the process ends. 409 where `RUST_LOG` is set.",
        )
    },
    get("/openapi.json", Who::Anybody, "This document."),
    get(
        "/api/process",
        Who::Reader,
        "What this process is, and what can be done with it.",
    ),
    get(
        "/api/now",
        Who::Reader,
        "How the process is, in words and numbers: the last second, the last minute, and its bounds.",
    ),
    get(
        "/api/history",
        Who::Reader,
        "The last 15 minutes: two by the second, the rest by ten seconds.",
    ),
    get(
        "/api/topics",
        Who::Reader,
        "Each topic: partitions, breaker, retry budget, rates.",
    ),
    Operation {
        query: &[
            (
                "role",
                "`proxy` or `processor`: who saw them. Default: the proxy, where there is one.",
            ),
            (
                "ring",
                "`last` (the last 1,000), `failed` (the last 200) or `slowest` (100 of the last 15 minutes).",
            ),
        ],
        ..get(
            "/api/requests",
            Who::Reader,
            "Requests that ended, as one role saw them.",
        )
    },
    get(
        "/api/requests/{id}",
        Who::Reader,
        "All that is known of a request, by its correlation, request or trace id.",
    ),
    get(
        "/api/events",
        Who::Reader,
        "The last 500 changes: restarts, rebalances, breakers, pauses, reloads.",
    ),
    get(
        "/api/settings",
        Who::Reader,
        "The effective settings, masked, each with where it was written.",
    ),
    get(
        "/api/live",
        Who::Reader,
        "Server-sent events: `now` each second, `requests`, `event` and `redrive`.",
    ),
    get("/api/peers", Who::Reader, "How each instance of `management_peers` is."),
    get(
        "/api/peers/requests/{id}",
        Who::Reader,
        "What each of them knows of a request.",
    ),
    Operation {
        body: &[
            ("method", "string", "The method."),
            ("path", "string", "Path and query; it begins with `/`."),
            ("headers", "array", "Pairs of name and value."),
            ("body", "string", "The body, as text."),
        ],
        ..post(
            "/api/try",
            "Sends a request through this process's own proxy port, and answers with what came back.",
        )
    },
    Operation {
        query: &[
            (
                "filter",
                "`FIELD=VALUE` or `FIELD~GLOB`, as `dlq list --filter` takes it; any number of times.",
            ),
            ("all", "Those that were redriven, too."),
            ("max", "So many at most: 100, and never more than 1,000."),
        ],
        ..get("/api/dead-letters", Who::Reader, "Dead letters, the oldest first.")
    },
    get(
        "/api/dead-letters/{place}",
        Who::Reader,
        "One letter, by `PARTITION:OFFSET`, masked as `dlq show` does.",
    ),
    get("/api/redrive", Who::Reader, "The redrive that runs, or ran last."),
    Operation {
        body: &[
            ("filter", "array", "Filters, as above; all must hold."),
            ("max", "integer", "Letters at most."),
            ("rate", "number", "Letters a second at most."),
            ("dry_run", "boolean", "Say what would be done, and do nothing."),
        ],
        ..post(
            "/api/redrive",
            "Sends dead letters back to the topics they came from, each once. One at a time: 409 while another runs.",
        )
    },
    post(
        "/api/redrive/stop",
        "Ends the redrive that runs, after the batch at hand.",
    ),
];

/// The document.
pub async fn document() -> HttpResponse {
    HttpResponse::Ok().json(openapi())
}

fn openapi() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method.to_lowercase()] = operation.describe();
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "actix-khp management", "version": env!("CARGO_PKG_VERSION")},
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "management_token"}}},
        "paths": paths,
    })
}

impl Operation {
    fn describe(&self) -> Value {
        let mut responses = json!({"200": {"description": "As asked."}});
        if self.path == "/api/redrive" && self.method == "POST" {
            responses = json!({"202": {"description": "Begun."}, "409": {"description": "Another one runs."}});
        }
        if self.who != Who::Anybody {
            responses["401"] = json!({"description": "Without the token, where there is one."});
        }
        if self.who == Who::Operator {
            responses["403"] = json!({"description": "There is no management_token: nothing can be changed."});
        }
        let mut described = json!({
            "summary": self.summary,
            "parameters": self.parameters(),
            "responses": responses,
        });
        if self.who != Who::Anybody {
            described["security"] = json!([{"token": []}]);
        }
        if self.method != "GET" {
            let members = self
                .body
                .iter()
                .map(|(name, kind, what)| (name.to_string(), json!({"type": kind, "description": what})));
            let schema = json!({"type": "object", "properties": members.collect::<Map<_, _>>()});
            described["requestBody"] = json!({"content": {"application/json": {"schema": schema}}});
        }
        described
    }

    fn parameters(&self) -> Value {
        let in_path = self
            .path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let in_path =
            in_path.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
        let in_query = self.query.iter().map(
            |(name, what)| json!({"name": name, "in": "query", "description": what, "schema": {"type": "string"}}),
        );
        in_path.chain(in_query).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::console;
    use crate::management;
    use crate::management::routes::Routes;

    #[test]
    fn every_path_is_described_and_no_other() {
        let mut served = Vec::new();
        let _app = actix_web::App::new().configure(|service| {
            let mut routes = Routes::new(service);
            management::all(&mut routes);
            console::routes::all(&mut routes);
            served = routes.finish();
        });
        let served: BTreeSet<_> = served
            .into_iter()
            .filter(|(path, _)| *path != "/" && !path.starts_with("/console/"))
            .collect();
        let described: BTreeSet<_> = OPERATIONS
            .iter()
            .map(|operation| (operation.path, operation.method))
            .collect();
        assert_eq!(described, served);
        assert_eq!(described.len(), OPERATIONS.len());
    }

    #[test]
    fn the_document_says_who_may_and_what_is_sent() {
        let document = openapi();
        let paths = &document["paths"];
        assert!(paths["/health"]["get"]["security"].is_null());
        assert!(paths["/status"]["get"]["security"].is_array());
        assert!(paths["/api/redrive"]["post"]["responses"]["403"].is_object());
        let schema = &paths["/api/redrive"]["post"]["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(schema["properties"]["dry_run"]["type"], "boolean");
        let place = &paths["/api/dead-letters/{place}"]["get"]["parameters"][0];
        assert_eq!(
            (place["name"].as_str(), place["in"].as_str()),
            (Some("place"), Some("path"))
        );
    }
}
