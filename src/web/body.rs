//! A request's body, bounded in size and in time: the head's own deadline ends with the head, and a
//! body that drips in would hold its connection for ever.

use std::time::Duration;

use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, error::PayloadError};

use crate::domain::error_code::ErrorCode;
use crate::domain::refusal::Refusal;

use super::State;

/// Within so long a body must be there. The largest needs 18 kbit/s for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The whole body, or the refusal that says why not.
pub async fn whole(request: &HttpRequest, payload: web::Payload, most: usize) -> Result<Bytes, Refusal> {
    let Some(state) = request.app_data::<web::Data<State>>() else {
        return Err(Refusal::new(ErrorCode::Internal, "Something went wrong on our side.").with_cause("a route without state"));
    };
    tokio::select! {
        biased;
        body = payload.to_bytes_limited(most) => match body {
            Ok(body) => body.map_err(|cause| broken_off(&cause)),
            Err(_) => Err(Refusal::new(ErrorCode::PayloadTooLarge, format!("A request body may have {most} bytes."))),
        },
        () = state.core.clock.sleep(PATIENCE) => {
            let detail = format!("The body did not arrive within {} seconds.", PATIENCE.as_secs());
            Err(Refusal::new(ErrorCode::InvalidRequest, detail))
        }
    }
}

fn broken_off(cause: &actix_web::Error) -> Refusal {
    let cause = cause.as_error::<PayloadError>().map_or_else(|| "unknown".to_owned(), ToString::to_string);
    Refusal::new(ErrorCode::InvalidRequest, "The body did not arrive whole.").with_cause(cause)
}
