//! What the machine can do at most: actix-web as Claviger runs it, reading each request whole and
//! answering the same bytes. `benches/get-access-token.sh` measures against it.
//!
//! `bare-server ADDRESS FILE` answers every request with the content of FILE.

use std::error::Error;

use actix_web::web::{self, Bytes};
use actix_web::{App, HttpResponse, HttpServer};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [address, file] = arguments.as_slice() else {
        return Err("bare-server ADDRESS FILE".into());
    };
    let body = Bytes::from(std::fs::read(file)?);
    let answer = move |_request: Bytes| {
        let body = body.clone();
        async move { HttpResponse::Ok().content_type("application/json").body(body) }
    };
    HttpServer::new(move || App::new().default_service(web::to(answer.clone()))).bind(address)?.run().await?;
    Ok(())
}
