//! The sandbox provider over HTTP, on a listener of its own. The rules are in `services/sandbox`; here
//! are the wire formats and the pages.

mod about;
mod answer;
mod authorize;
mod client_auth;
mod params;
mod token;
mod userinfo;

use std::sync::Arc;

use actix_web::web::{self, Data, PayloadConfig, ServiceConfig};

use crate::services::sandbox::Sandbox;

/// Largest query and largest body, in bytes. The longest request in order has about 7,000.
pub const REQUEST_MAX: usize = 16 * 1024;

/// The whole route table of the sandbox's listener.
pub fn configure(config: &mut ServiceConfig, sandbox: Arc<Sandbox>) {
    config
        .app_data(Data::from(sandbox))
        .app_data(PayloadConfig::new(REQUEST_MAX))
        .service(web::resource("/").get(about::index))
        .service(web::resource("/authorize").get(authorize::show).post(authorize::decide))
        .service(web::resource("/token").post(token::token))
        .service(web::resource("/revoke").post(token::revoke))
        .service(web::resource("/userinfo").get(userinfo::userinfo).post(userinfo::userinfo))
        .service(web::resource("/.well-known/oauth-authorization-server").get(about::metadata))
        .service(web::resource("/healthz").get(about::healthz))
        .default_service(web::to(about::nothing_here));
}
