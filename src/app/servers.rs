//! The HTTP servers: the proxy's port, and the management port.

use std::net::{IpAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App as WebApp, HttpServer, web};
use actix_web_prom::{PrometheusMetrics, PrometheusMetricsBuilder};
use prometheus::Registry;

use crate::app::shutdown;
use crate::app::start_error::StartError;
use crate::console::{self, Console};
use crate::management;
use crate::management::board::Board;
use crate::management::routes::Routes;
use crate::process::listener::{self, ListenerGuard};
use crate::proxy::connection::places::ConnectionLimits;
use crate::proxy::connection::server::{self, Keeping};
use crate::proxy::handler::{Proxy, forward};
use crate::settings::{Mode, Settings};

/// Opens the proxy's port. Health and metrics are served there too where there is no management port.
///
/// # Errors
/// The port is taken.
pub fn serve_requests(
    settings: &Settings,
    proxy: &Arc<Proxy>,
    board: &web::Data<Board>,
) -> Result<(ServerHandle, ListenerGuard), StartError> {
    let (bind, port) = (settings.proxy.bind, settings.proxy.port);
    let (listener, guard) = listen(bind, port)?;
    let tls = proxy.tls.clone();
    let own = &settings.proxy;
    let keeping = Keeping {
        limits: ConnectionLimits::new(
            own.max_connections,
            own.max_connections_per_client,
            proxy.metrics.clone(),
        ),
        keep_alive: own.keep_alive,
    };
    let (proxy, board) = (web::Data::from(proxy.clone()), board.clone());
    // A demo always has a management port, and looks in all else like a proxy without one.
    let own_health = settings.management.port == 0 || settings.mode == Mode::Demo;
    let limit = shutdown::server_limit(settings.drain_timeout);
    let make = move || {
        let app = WebApp::new().app_data(proxy.clone()).app_data(board.clone());
        let app = if own_health {
            app.configure(management::on_proxy_port)
        } else {
            app
        };
        app.default_service(web::to(forward))
    };
    let server = server::serve(listener, limit, tls, keeping, make)?;
    let handle = server.handle();
    actix::spawn(server);
    Ok((handle, guard))
}

/// Opens the management port.
///
/// # Errors
/// The port is taken, or the name of a metric.
pub fn serve_management(
    settings: &Settings,
    board: &web::Data<Board>,
    console: Console,
) -> Result<ServerHandle, StartError> {
    let (board, counted) = (board.clone(), counted(&board.registry)?);
    let (listener, _) = listen(settings.management.bind, settings.management.port)?;
    let console = web::Data::new(console);
    let server = HttpServer::new(move || {
        WebApp::new()
            .wrap(counted.clone())
            .app_data(board.clone())
            .app_data(console.clone())
            .configure(|service| {
                let mut routes = Routes::new(service);
                management::all(&mut routes);
                console::routes::all(&mut routes);
                routes.finish();
            })
    })
    .workers(1)
    .disable_signals()
    .listen(listener)?
    .run();
    let handle = server.handle();
    actix::spawn(server);
    Ok(handle)
}

/// Counts management requests. Paths that no route serves are left out: anybody can make them up, and each would be a label.
fn counted(registry: &Registry) -> Result<PrometheusMetrics, StartError> {
    let builder = PrometheusMetricsBuilder::new("management")
        .registry(registry.clone())
        .mask_unmatched_patterns("unmatched")
        .exclude_status(StatusCode::NOT_FOUND)
        .exclude_status(StatusCode::METHOD_NOT_ALLOWED);
    builder.build().map_err(StartError::ManagementMetrics)
}

fn listen(bind: IpAddr, port: u16) -> Result<(TcpListener, ListenerGuard), StartError> {
    listener::listen(bind, port).map_err(|source| StartError::Listen { bind, port, source })
}
