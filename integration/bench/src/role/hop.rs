//! A plain HTTP forwarder: actix-web takes the request, awc sends it on. It does the least that a gateway of this family has to do.
//! (actix-khp calls its backends with hyper.)

use std::net::SocketAddr;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use awc::{Client, Connector};

use crate::error;
use crate::protocol::READY;

/// More than the largest body that a run sends.
const MAX_BODY: usize = 2 << 20;

#[derive(clap::Args)]
pub struct Hop {
    #[arg(long)]
    backend: SocketAddr,
}

impl Hop {
    pub fn run(self) -> error::Result<()> {
        actix_rt::System::new().block_on(async move {
            let target = web::Data::new(format!("http://{}", self.backend));
            let make = move || {
                // 0: as many connections as there are requests.
                let client = Client::builder().connector(Connector::new().limit(0)).finish();
                App::new()
                    .app_data(target.clone())
                    .app_data(web::Data::new(client))
                    .app_data(web::PayloadConfig::new(MAX_BODY))
                    .default_service(web::to(forward))
            };
            let server = HttpServer::new(make).bind("127.0.0.1:0")?;
            let port = server.addrs().first().ok_or("an address is bound")?.port();
            println!("{READY} {port}");
            Ok(server.run().await?)
        })
    }
}

async fn forward(
    request: HttpRequest,
    body: web::Bytes,
    client: web::Data<Client>,
    target: web::Data<String>,
) -> Result<HttpResponse, actix_web::Error> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let outgoing = client.request_from(format!("{}{path}", **target), request.head());
    let mut answer = outgoing
        .no_decompress()
        .send_body(body)
        .await
        .map_err(actix_web::error::ErrorBadGateway)?;
    let mut response = HttpResponse::build(answer.status());
    for (name, value) in answer.headers().iter().filter(|(name, _)| *name != "connection") {
        response.append_header((name.clone(), value.clone()));
    }
    let body = answer
        .body()
        .limit(MAX_BODY)
        .await
        .map_err(actix_web::error::ErrorBadGateway)?;
    Ok(response.body(body))
}
