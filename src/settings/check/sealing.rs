//! Keys that seal records, and what cannot be sealed.

use crate::settings::fault::Report;
use crate::settings::keys::{self, route, top};
use crate::settings::model::Settings;
use crate::wire::Format;

/// An envelope has no place for a seal, and whoever writes it no key.
pub(super) fn check(settings: &Settings, report: &mut Report) {
    let keys = &settings.sealing.keys;
    for (index, key) in keys.iter().enumerate() {
        let path = keys::join(&keys::item(top::SEALING_KEYS.name, index), keys::sealing_key::ID.name);
        let first = keys.iter().position(|other| other.id == key.id);
        report.rule(first == Some(index), &[&path], || {
            format!("{:?} is the id of another key; records name their key by it", key.id)
        });
    }
    if keys.is_empty() || !settings.mode.is_proxy() {
        return;
    }
    let proxy = &settings.proxy;
    let own = (proxy.routes.is_empty()).then(|| (top::WIRE_FORMAT.name.to_owned(), proxy.wire_format));
    let routes = proxy.routes.iter().enumerate();
    let routes = routes.map(|(index, each)| (keys::of_route(index, &route::WIRE_FORMAT), each.wire_format));
    for (path, format) in own.into_iter().chain(routes) {
        report.rule(format == Format::Native, &[&path, top::WIRE_FORMAT.name], || {
            format!(
                "is {}, which cannot be sealed ({})",
                format.as_str(),
                top::SEALING_KEYS.name
            )
        });
    }
}
