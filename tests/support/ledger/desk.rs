//! Where requests are dealt with, however they came: the books, the script, and the record of who showed
//! what.

use std::sync::Mutex;

use serde_json::json;
use tokio::sync::watch;

use super::book::{Book, Class, Issued};
use super::oracle::Presented;
use super::script::{End, Fault, Script};
use super::{Time, lock};

pub struct Desk {
    pub book: Mutex<Book>,
    pub presented: Mutex<Vec<Presented>>,
    /// How many refreshes have come so far.
    pub arrived: watch::Sender<usize>,
    pub script: Mutex<Script>,
    pub time: Time,
}

pub struct Request {
    class: Class,
    pub what: String,
    query: String,
    form: Vec<(String, String)>,
}

pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    /// `None` where the path is of no class.
    pub fn of(path: &str, query: &str, body: &[u8]) -> Option<Self> {
        let (class, what) = path.strip_prefix('/')?.split_once('/')?;
        let form = form_urlencoded::parse(body).into_owned().collect();
        Some(Self { class: Class::of(class)?, what: what.to_owned(), query: query.to_owned(), form })
    }

    pub fn field(&self, name: &str) -> &str {
        self.form.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    pub fn is_refresh(&self) -> bool {
        self.what == "token" && self.field("grant_type") == "refresh_token"
    }
}

impl Reply {
    fn json(status: u16, body: String) -> Self {
        Self { status, headers: vec![("content-type".to_owned(), "application/json".to_owned())], body }
    }

    fn with(mut self, name: &str, value: String) -> Self {
        self.headers.push((name.to_owned(), value));
        self
    }
}

impl Desk {
    pub fn new(time: Time) -> Self {
        let (book, presented, script) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { book, presented, arrived: watch::Sender::new(0), script, time }
    }

    /// A refresh: which it was, what is to become of its answer, and the answer. [`Desk::finished`] ends it.
    pub async fn refresh(&self, door: usize, token: &str) -> (usize, End, Reply) {
        let grant = lock(&self.book).grant_of(token);
        let number = {
            let (arrived, token) = ((self.time)(), token.to_owned());
            let mut presented = lock(&self.presented);
            let (issued, end, finished) = (None, End::Whole, None);
            presented.push(Presented { grant, token, door, arrived, issued, refused: false, end, finished, whole: false });
            presented.len() - 1
        };
        self.arrived.send_modify(|arrived| *arrived += 1);
        let Fault { before, after, end } = grant.map(|grant| lock(&self.script).fault_for(grant)).unwrap_or_default();
        before.over().await;
        let issued = if end.commits() { self.write(number, token) } else { None };
        after.over().await;
        lock(&self.presented)[number].end = end;
        (number, end, reply(end, issued))
    }

    /// Writes the books; nothing where the token is refused.
    fn write(&self, number: usize, token: &str) -> Option<Issued> {
        let now = (self.time)();
        let issued = lock(&self.book).refresh(token, now);
        let one = &mut lock(&self.presented)[number];
        one.refused = issued.is_none();
        one.issued = issued.as_ref().map(|issued| (now, issued.access.clone(), issued.refresh.clone()));
        issued
    }

    pub fn finished(&self, number: usize, whole: bool) {
        let one = &mut lock(&self.presented)[number];
        one.finished = Some((self.time)());
        one.whole = whole;
    }

    /// Whatever is no refresh.
    pub fn answer(&self, request: &Request) -> Reply {
        match (request.what.as_str(), request.field("grant_type")) {
            ("token", "authorization_code") => {
                let issued = lock(&self.book).grant(request.class, (self.time)());
                Reply::json(200, tokens(&issued, true))
            }
            ("revoke", _) => {
                lock(&self.book).revoke(request.field("token"), (self.time)());
                Reply::json(200, String::new())
            }
            ("authorize", _) => Reply::json(302, String::new()).with("location", consented(&request.query)),
            _ => Reply::json(404, r#"{"error":"not_found"}"#.to_owned()),
        }
    }
}

fn reply(end: End, issued: Option<Issued>) -> Reply {
    match (end, issued) {
        (End::Hidden | End::Failed, _) => Reply {
            status: 500,
            headers: vec![("content-type".to_owned(), "text/html".to_owned())],
            body: "<h1>Oh</h1>".to_owned(),
        },
        (End::Throttled(seconds), _) => {
            Reply::json(429, r#"{"error":"slow_down"}"#.to_owned()).with("retry-after", seconds.to_string())
        }
        (_, Some(issued)) => Reply::json(200, tokens(&issued, issued.rotated)),
        (_, None) => Reply::json(400, r#"{"error":"invalid_grant"}"#.to_owned()),
    }
}

fn tokens(issued: &Issued, with_refresh: bool) -> String {
    let mut body = json!({ "access_token": issued.access, "token_type": "Bearer", "expires_in": issued.life.as_secs() });
    if with_refresh {
        body["refresh_token"] = json!(issued.refresh);
    }
    body.to_string()
}

/// Back to the broker with a code, as if the end user had said yes.
fn consented(query: &str) -> String {
    let param = |name: &str| form_urlencoded::parse(query.as_bytes()).find(|(known, _)| known == name).map(|(_, value)| value);
    let mut back = url::Url::parse(&param("redirect_uri").unwrap_or_default()).expect("a redirect_uri");
    back.query_pairs_mut().append_pair("code", "yes").append_pair("state", &param("state").unwrap_or_default());
    back.into()
}
