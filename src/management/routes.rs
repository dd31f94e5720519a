//! Paths of the management port, each with the methods it takes. Another method gets 405 with `Allow`.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, FromRequest, Handler, HttpResponse, Responder, Route, guard, web};
use serde_json::json;

use crate::management::board::Board;
use crate::management::guard::reading;
use crate::proxy::handler::response::with_unread;

/// Registers paths, and notes which.
pub struct Routes<'a> {
    service: &'a mut web::ServiceConfig,
    /// Path and method, as they were registered.
    listed: Vec<(&'static str, &'static str)>,
}

impl<'a> Routes<'a> {
    pub fn new(service: &'a mut web::ServiceConfig) -> Self {
        Routes {
            service,
            listed: Vec::new(),
        }
    }

    /// A path that is read, by GET and HEAD.
    pub fn read<F, A>(&mut self, path: &'static str, handler: F)
    where
        F: Handler<A>,
        A: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.add(path, "GET", bodiless(read().to(handler)));
    }

    /// A path that is read, by GET and HEAD, and by whoever may: of others its handler does not hear.
    pub fn guarded<F, A>(&mut self, path: &'static str, handler: F)
    where
        F: Handler<A>,
        A: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.add(path, "GET", bodiless(read().to(handler).wrap(from_fn(admit))));
    }

    /// A path that takes a POST whose body does not matter.
    pub fn order<F, A>(&mut self, path: &'static str, handler: F)
    where
        F: Handler<A>,
        A: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.add(path, "POST", bodiless(web::post().to(handler)));
    }

    /// A path that takes a POST whose body the handler reads.
    pub fn post<F, A>(&mut self, path: &'static str, handler: F)
    where
        F: Handler<A>,
        A: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.add(path, "POST", web::post().to(handler));
    }

    /// A path that takes a PUT whose body the handler reads.
    pub fn put<F, A>(&mut self, path: &'static str, handler: F)
    where
        F: Handler<A>,
        A: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.add(path, "PUT", web::put().to(handler));
    }

    fn add(&mut self, path: &'static str, method: &'static str, route: Route) {
        self.service.route(path, route);
        self.listed.push((path, method));
    }

    /// Has every path refuse the methods it does not take; returns the paths, each with its methods.
    pub fn finish(self) -> Vec<(&'static str, &'static str)> {
        for (index, (path, _)) in self.listed.iter().enumerate() {
            if self.listed[..index].iter().any(|(before, _)| before == path) {
                continue;
            }
            let of_path = self.listed.iter().filter(|(listed, _)| listed == path);
            let methods = of_path.map(|(_, method)| if *method == "GET" { "GET, HEAD" } else { *method });
            let allowed = methods.collect::<Vec<_>>().join(", ");
            let refuse = move || {
                let answer = method_not_allowed(&allowed);
                async move { answer }
            };
            self.service.route(path, bodiless(web::to(refuse)));
        }
        self.listed
    }
}

/// GET, and HEAD: its answer is GET's without the body, which actix-http leaves out.
pub fn read() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

fn method_not_allowed(allowed: &str) -> HttpResponse {
    HttpResponse::MethodNotAllowed()
        .insert_header((header::ALLOW, allowed))
        .json(json!({"error": format!("this path takes {allowed}")}))
}

/// A route whose handler reads no body. One that comes all the same, and does not end, must not keep its connection.
pub fn bodiless(route: Route) -> Route {
    route.wrap(from_fn(leave_unread))
}

async fn admit(
    board: web::Data<Board>,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    match reading(request.request(), &board.access).await {
        Ok(()) => next.call(request).await,
        Err(refused) => Ok(request.into_response(refused)),
    }
}

async fn leave_unread(
    rest: web::Payload,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    let (request, response) = next.call(request).await?.into_parts();
    Ok(ServiceResponse::new(request, with_unread(response, rest)))
}
