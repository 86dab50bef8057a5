//! What a monitoring system reads from the operator's listener: Prometheus' text format, version 0.0.4. No name of a
//! tenant, a connection or an end user ever stands in it.

use std::fmt::{Display, Write as _};

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::services::Services;
use crate::services::refresh::admission::Rests;

use super::endpoint::Shared;

pub async fn show(state: Shared, _request: HttpRequest, _payload: web::Payload) -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")).body(text(&state.services))
}

#[derive(Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
    Summary,
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: Kind, help: &str) -> &mut Self {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Summary => "summary",
        };
        // Writing to a string does not fail.
        _ = write!(self.0, "# HELP claviger_{name} {help}\n# TYPE claviger_{name} {kind}\n");
        self
    }

    /// `labels` as they stand between the braces; all of them are words of this program.
    fn sample(&mut self, name: &str, labels: &str, value: impl Display) -> &mut Self {
        _ = match labels {
            "" => writeln!(self.0, "claviger_{name} {value}"),
            labels => writeln!(self.0, "claviger_{name}{{{labels}}} {value}"),
        };
        self
    }

    fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help).sample(name, "", value);
    }
}

fn text(services: &Services) -> String {
    let mut page = Page::default();
    refreshes(&mut page, services);
    sweep(&mut page, services);
    journal(&mut page, services);
    page.0
}

fn refreshes(page: &mut Page, services: &Services) {
    let admission = services.refresher.admission();
    let name = "refresh_answers_total";
    page.family(name, Kind::Counter, "What providers made of refreshes, by class.");
    for (class, count) in admission.answers() {
        page.sample(name, &format!("class=\"{class}\""), count);
    }
    page.single("refresh_flights", Kind::Gauge, "Refreshes that have not landed.", services.refresher.under_way());
    let (hosts, integrations) = admission.rests();
    page.family("breakers", Kind::Gauge, "What rests because it failed, and what is being tried again.");
    for (of, Rests { open, half_open }) in [("host", hosts), ("integration", integrations)] {
        page.sample("breakers", &format!("of=\"{of}\",state=\"open\""), open);
        page.sample("breakers", &format!("of=\"{of}\",state=\"half_open\""), half_open);
    }
    let slowed = admission.slowed(services.monotonic());
    page.single("providers_slowed", Kind::Gauge, "Providers asked more slowly because they throttled.", slowed);
}

fn sweep(page: &mut Page, services: &Services) {
    let state = services.sweeper.state();
    let now = services.core.clock.now();
    let age = state.oldest.map_or(0, |oldest| now.duration_since(oldest).as_secs().max(0));
    page.single("sweep_paused", Kind::Gauge, "1 while no refresh is started that nobody asked for.", u8::from(state.paused));
    page.single("sweep_due", Kind::Gauge, "Due and not yet refreshed, as far as this node knows.", state.due);
    page.single("sweep_oldest_due_seconds", Kind::Gauge, "For how long the oldest of them has been due.", age);
    page.single("sweep_flights", Kind::Gauge, "Refreshes of the sweep under way.", state.flying);
    page.single("sweep_refreshed_total", Kind::Counter, "Refreshes of the sweep that succeeded.", state.refreshed);
    page.single("sweep_failed_total", Kind::Counter, "Refreshes of the sweep that failed.", state.failed);
}

fn journal(page: &mut Page, services: &Services) {
    let state = services.journal.state();
    page.single("journal_pending", Kind::Gauge, "Answers in the journal that no store has yet.", state.pending);
    page.single("journal_used_bytes", Kind::Gauge, "What they take, with what is reserved.", state.used);
    page.single("journal_capacity_bytes", Kind::Gauge, "What the journal holds at most.", state.capacity);
    page.single("journal_broken", Kind::Gauge, "1 while the journal takes nothing.", u8::from(state.broken.is_some()));
    let window = services.refresher.window();
    let name = "refresh_exposed_seconds";
    page.family(name, Kind::Summary, "From a provider's last byte to the journal's sync: what a crash can lose.");
    for (quantile, span) in [("0.5", window.p50), ("0.99", window.p99), ("1", window.max)] {
        page.sample(name, &format!("quantile=\"{quantile}\""), span.as_secs_f64());
    }
    page.sample(&format!("{name}_count"), "", window.count);
}
