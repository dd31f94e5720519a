//! The page's files. They are in the binary as they are written: nothing builds them, and nothing is loaded from elsewhere.

use actix_web::HttpResponse;
use actix_web::http::header;

use crate::management::routes::Routes;

/// What the page may load, and from where: only its own files, no inline script or style, and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// A file: its path, its type, and what is in it.
type File = (&'static str, &'static str, &'static str);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

macro_rules! files {
    ($($path:literal $media:ident $file:literal),* $(,)?) => {
        &[$(($path, $media, include_str!(concat!("page/", $file)))),*]
    };
}

const FILES: &[File] = files![
    "/" HTML "index.html",
    "/console/style.css" CSS "style.css",
    "/console/icon.svg" IMAGE "icon.svg",
    "/console/main.js" SCRIPT "main.js",
    "/console/api.js" SCRIPT "api.js",
    "/console/dom.js" SCRIPT "dom.js",
    "/console/chart.js" SCRIPT "chart.js",
    "/console/now.js" SCRIPT "now.js",
    "/console/topics.js" SCRIPT "topics.js",
    "/console/requests.js" SCRIPT "requests.js",
    "/console/waterfall.js" SCRIPT "waterfall.js",
    "/console/peers.js" SCRIPT "peers.js",
    "/console/try.js" SCRIPT "try.js",
    "/console/letters.js" SCRIPT "letters.js",
    "/console/events.js" SCRIPT "events.js",
    "/console/settings.js" SCRIPT "settings.js",
];

/// Registers the files. Anybody may read them: what they show, the API gives, and asks for the token.
pub fn routes(routes: &mut Routes<'_>) {
    for (path, media, text) in FILES {
        routes.read(path, move || std::future::ready(file(media, text)));
    }
}

fn file(media: &'static str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, media))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        // Another version of the program has other files, which must not be mixed.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The modules that a script names.
    fn imports(text: &str) -> BTreeSet<String> {
        let named = text.lines().filter(|line| line.starts_with("import "));
        let paths = named.filter_map(|line| line.split('"').nth(1));
        paths.map(|path| path.replacen("./", "/console/", 1)).collect()
    }

    #[test]
    fn the_page_is_small_and_whole_and_asks_nobody_else() {
        let size: usize = FILES.iter().map(|(_, _, text)| text.len()).sum();
        assert!(size < 150 * 1024, "{size} bytes");
        let paths: BTreeSet<String> = FILES.iter().map(|(path, ..)| (*path).to_owned()).collect();
        assert!(FILES.iter().any(|(_, _, text)| !imports(text).is_empty()));
        for (path, _, text) in FILES {
            for named in imports(text) {
                assert!(paths.contains(&named), "{path} imports {named}");
            }
            let elsewhere = text.replace("http://www.w3.org/", "");
            assert!(!elsewhere.contains("://"), "{path} names another host");
        }
    }

    #[test]
    fn no_value_becomes_markup_or_code() {
        for (path, media, text) in FILES {
            for sink in [
                "innerHTML",
                "outerHTML",
                "insertAdjacent",
                "document.write",
                "eval(",
                "srcdoc",
                "javascript:",
            ] {
                assert!(!text.contains(sink), "{path} has {sink}");
            }
            if *media == HTML {
                assert!(
                    !text.contains("<style") && !text.contains(" style=") && !text.contains(" on"),
                    "{path}"
                );
                let scripts = text.matches("<script").count();
                assert_eq!(scripts, text.matches("<script type=\"module\" src=").count(), "{path}");
            }
        }
    }
}
