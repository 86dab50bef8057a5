//! The ledger without a network, as the port for outgoing calls: for races by the thousand in one
//! process.

use std::time::Duration;

use async_trait::async_trait;
use claviger::domain::call::{HttpAnswer, HttpCall};
use claviger::ports::outbound::{CallError, Outbound};

use super::Ledger;
use super::desk::{Reply, Request};
use super::script::End;

/// Calls are never cut off by their deadline: the script decides how long one takes.
#[async_trait]
impl Outbound for Ledger {
    async fn call(&self, call: HttpCall, _deadline: Duration) -> Result<HttpAnswer, CallError> {
        let query = call.url.query().unwrap_or_default();
        let Some(request) = Request::of(call.url.path(), query, &call.body) else {
            return Err(CallError::NotSent("there is no such place".to_owned()));
        };
        if !request.is_refresh() {
            return Ok(whole(self.desk.answer(&request)));
        }
        let (number, end, reply) = self.desk.refresh(0, request.field("refresh_token")).await;
        let swallowed = matches!(end, End::Lost | End::Half | End::Reset);
        self.desk.finished(number, end == End::Whole);
        if swallowed { Err(CallError::InDoubt("as the script says".to_owned())) } else { Ok(whole(reply)) }
    }
}

fn whole(reply: Reply) -> HttpAnswer {
    HttpAnswer { status: reply.status, headers: reply.headers, body: reply.body.into_bytes() }
}
