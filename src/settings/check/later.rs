//! Rules about answers that are fetched later.

use humantime::format_duration;

use crate::settings::fault::Report;
use crate::settings::keys::{self, Key, route, top};
use crate::settings::model::{Async, AuthMethod, Later, Settings};
use crate::wire::Format;

/// Where a setting stands that is one of the top level, or of a route.
type PathOf = Box<dyn Fn(&Key, &Key) -> String>;

/// The settings of one route, or of the proxy where it has none.
struct Scope<'a> {
    later: &'a Later,
    format: Format,
    /// Who asks has to prove it.
    has_auth: bool,
    path: PathOf,
}

/// Checks all of them.
pub(super) fn check(settings: &Settings, report: &mut Report) {
    let proxy = &settings.proxy;
    let asks = |methods: &[AuthMethod]| !methods.contains(&AuthMethod::None);
    let own = proxy.routes.is_empty().then(|| Scope {
        later: &proxy.later,
        format: proxy.wire_format,
        has_auth: asks(&proxy.auth.methods),
        path: Box::new(|own, _| own.name.to_owned()),
    });
    let routes = proxy.routes.iter().enumerate().map(|(index, each)| Scope {
        later: &each.later,
        format: each.wire_format,
        has_auth: asks(&each.auth),
        path: Box::new(move |_, of_route| keys::of_route(index, of_route)),
    });
    let scopes: Vec<Scope<'_>> = own
        .into_iter()
        .chain(routes)
        .filter(|scope| scope.later.mode != Async::Off)
        .collect();
    for scope in &scopes {
        one(scope, settings, report);
    }
    if scopes.iter().any(|scope| scope.has_auth) && proxy.results.key.is_none() {
        report.warnings.push(format!(
            "{} is not set: whoever learns a correlation id can make up the Location of another principal's result",
            top::RESULTS_KEY.name
        ));
    }
}

fn one(scope: &Scope<'_>, settings: &Settings, report: &mut Report) {
    let path = |own: &Key, of_route: &Key| (scope.path)(own, of_route);
    let mode = path(&top::ASYNC, &route::ASYNC);
    let format = path(&top::WIRE_FORMAT, &route::WIRE_FORMAT);
    report.rule(scope.format == Format::Native, &[&mode, &format], || {
        format!(
            "is {}, and requests of {format} json are not accepted so",
            scope.later.mode.as_str()
        )
    });
    let (timeout, kept) = (scope.later.timeout, scope.later.retention);
    let concerned = [
        path(&top::RESULTS_RETENTION, &route::RESULTS_RETENTION),
        path(&top::ASYNC_TIMEOUT, &route::ASYNC_TIMEOUT),
    ];
    report.rule(kept >= timeout, &[&concerned[0], &concerned[1]], || {
        format!(
            "{} is below {} ({}): a result would be gone before its request is given up",
            format_duration(kept),
            concerned[1],
            format_duration(timeout)
        )
    });
    let topic = path(&top::RESULTS_TOPIC, &route::RESULTS_TOPIC);
    let name = &scope.later.results_topic;
    if let Some((other, _)) = others(settings).into_iter().find(|(_, other)| *other == name) {
        report.rule(false, &[&topic, &other], || {
            format!("{name:?} is the same as {other}: results need a topic of their own")
        });
    }
}

/// Every topic that records other than results go to, after the path of its setting.
fn others(settings: &Settings) -> Vec<(String, &String)> {
    let proxy = &settings.proxy;
    let mut others = vec![
        (top::REQUEST_TOPIC.name.to_owned(), &proxy.request_topic),
        (top::RESPONSE_TOPIC.name.to_owned(), &proxy.response_topic),
        (top::CONTROL_TOPIC.name.to_owned(), &proxy.streams.control_topic),
        (top::BODIES_TOPIC.name.to_owned(), &proxy.streams.bodies_topic),
    ];
    for (index, each) in proxy.routes.iter().enumerate() {
        let path = |key: &Key| keys::of_route(index, key);
        others.push((path(&route::REQUEST_TOPIC), &each.request_topic));
        others.push((path(&route::RESPONSE_TOPIC), &each.response_topic));
        others.push((path(&route::CONTROL_TOPIC), &each.streams.control_topic));
        others.push((path(&route::BODIES_TOPIC), &each.streams.bodies_topic));
    }
    let dead_letters = settings.processor.dead_letter_topic.iter();
    others.extend(dead_letters.map(|name| (top::DEAD_LETTER_TOPIC.name.to_owned(), name)));
    others
}
