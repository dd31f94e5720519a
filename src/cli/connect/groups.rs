//! What is wrong with a consumer group.

use crate::cli::connect::expected::GroupUse;
use crate::cli::connect::finding::{Finding, Kind};
use crate::kafka::cluster::survey::{GroupState, Surveyed};

/// Everything that is wrong with this group. `partitions` is a topic's number of them, where it is known.
pub fn findings(
    name: &str,
    uses: &[GroupUse<'_>],
    group: &Surveyed<GroupState>,
    partitions: impl Fn(&str) -> Option<i32>,
) -> Vec<Finding> {
    let subject = &subject(name);
    let of = |used: &GroupUse<'_>| match group {
        Surveyed::Denied => vec![lacks(name, subject, used)],
        Surveyed::Found(found) if !found.rights.allow(used.right()) => vec![lacks(name, subject, used)],
        Surveyed::Found(found) => too_many(subject, used, found.members, &partitions)
            .into_iter()
            .collect(),
        // A group comes into being when its first member joins.
        Surveyed::Missing => too_many(subject, used, 0, &partitions).into_iter().collect(),
        Surveyed::Unknown(code) => vec![Finding::warns(
            Kind::Kafka,
            subject,
            format!("Kafka could not tell about it ({code})"),
            "look at the broker's log",
        )],
    };
    uses.iter().flat_map(of).collect()
}

/// How the report names a group.
pub fn subject(name: &str) -> String {
    format!("group {name}")
}

fn lacks(name: &str, subject: &str, used: &GroupUse<'_>) -> Finding {
    let right = used.right();
    let problem = format!("this user lacks {right}");
    let cure = format!("kafka-acls --add --allow-principal User:… --operation {right} --group {name}");
    match used {
        GroupUse::Joins { .. } => Finding::stops(Kind::MissingRight, subject, problem, cure),
        // The proxy then takes requests whether there are members or not.
        GroupUse::Watches => Finding::warns(Kind::MissingRight, subject, problem, cure),
    }
}

/// A member without a partition does nothing. This process may be among the members already, so only those of the group are compared where
/// they are more than its own.
fn too_many(
    subject: &str,
    used: &GroupUse<'_>,
    members: usize,
    partitions: impl Fn(&str) -> Option<i32>,
) -> Option<Finding> {
    let GroupUse::Joins { topic, workers } = used else {
        return None;
    };
    let partitions = partitions(topic)?;
    let wanted = members.max(*workers);
    (wanted > partitions as usize).then(|| {
        Finding::warns(
            Kind::Partitions,
            subject,
            format!("it has {wanted} workers for the {partitions} partitions of {topic}, and the rest has no work"),
            format!("add partitions to {topic}, or run fewer workers"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::connect::finding::Severity;
    use crate::kafka::cluster::rights::{Right, Rights};

    fn of(used: GroupUse<'_>, group: Surveyed<GroupState>) -> Vec<Finding> {
        findings("g", &[used], &group, |_| Some(2))
    }

    fn joins(workers: usize) -> GroupUse<'static> {
        GroupUse::Joins { topic: "t", workers }
    }

    #[test]
    fn a_group_that_is_well_has_no_findings() {
        assert_eq!(of(joins(2), Surveyed::Missing), []);
        let found = GroupState {
            members: 2,
            rights: Rights::only(&[Right::Read]),
        };
        assert_eq!(of(joins(1), Surveyed::Found(found)), []);
        assert_eq!(of(GroupUse::Watches, Surveyed::Missing), []);
    }

    #[test]
    fn a_missing_right_stops_a_processor_and_warns_a_proxy() {
        let found = || {
            Surveyed::Found(GroupState {
                members: 0,
                rights: Rights::only(&[Right::DescribeConfigs]),
            })
        };
        for group in [found(), Surveyed::Denied] {
            let [one] = &of(joins(1), group.clone())[..] else {
                panic!()
            };
            assert_eq!((one.severity, one.kind), (Severity::Stops, Kind::MissingRight));
            assert!(one.cure.contains("--operation Read --group g"), "{one:?}");
            let [one] = &of(GroupUse::Watches, group)[..] else {
                panic!()
            };
            assert_eq!(one.severity, Severity::Warns);
            assert!(one.cure.contains("--operation Describe --group g"), "{one:?}");
        }
    }

    #[test]
    fn more_members_than_partitions_have_no_work() {
        let crowded = Surveyed::Found(GroupState {
            members: 3,
            rights: Rights::default(),
        });
        for (used, group) in [(joins(3), Surveyed::Missing), (joins(1), crowded)] {
            let [one] = &of(used, group)[..] else { panic!() };
            assert_eq!((one.severity, one.kind), (Severity::Warns, Kind::Partitions));
        }
    }
}
