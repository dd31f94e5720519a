//! A plain HTTP forwarder: actix-web takes the request, awc sends it on. It does the least that a gateway of this family has to do.
//! (actix-khp calls its backends with hyper.) What is under `/stream/` passes as it comes.

use std::net::SocketAddr;
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use awc::{Client, Connector};

use crate::error;
use crate::protocol::READY;

/// More than the largest body that a run sends.
const MAX_BODY: usize = 2 << 20;
/// Longer than any stream of a run.
const STREAM_LIMIT: Duration = Duration::from_secs(3600);

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
                    .route("/stream/{name}", web::to(stream))
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

async fn stream(
    request: HttpRequest,
    body: web::Payload,
    client: web::Data<Client>,
    target: web::Data<String>,
) -> Result<HttpResponse, actix_web::Error> {
    let length = |value: Option<&actix_web::http::header::HeaderValue>| value?.to_str().ok()?.parse::<u64>().ok();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let outgoing = client.request_from(format!("{}{path}", **target), request.head());
    let outgoing = outgoing.no_decompress().timeout(STREAM_LIMIT);
    let sent = match length(request.headers().get(CONTENT_LENGTH)) {
        Some(length) => outgoing.send_body(SizedStream::new(length, body)),
        None => outgoing.send(),
    };
    let answer = sent.await.map_err(actix_web::error::ErrorBadGateway)?;
    let mut response = HttpResponse::build(answer.status());
    for (name, value) in answer.headers().iter().filter(|(name, _)| *name != "connection") {
        response.append_header((name.clone(), value.clone()));
    }
    Ok(match length(answer.headers().get(CONTENT_LENGTH)) {
        Some(length) => response.no_chunking(length).body(SizedStream::new(length, answer)),
        None => response.streaming(answer),
    })
}
