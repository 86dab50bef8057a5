//! Parameters of a query or a form body: each once, and an empty one counts as left out
//! (RFC 6749 3.1, 3.2).

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_TYPE;

pub(super) struct Params(Vec<(String, String)>);

/// The parameter came more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Repeated;

impl Params {
    pub(super) fn parse(encoded: &[u8]) -> Self {
        Self(form_urlencoded::parse(encoded).into_owned().filter(|(_, value)| !value.is_empty()).collect())
    }

    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, Repeated> {
        let mut values = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let first = values.next();
        if values.next().is_some() { Err(Repeated) } else { Ok(first) }
    }

    pub(super) fn one_owned(&self, name: &str) -> Result<Option<String>, Repeated> {
        Ok(self.one(name)?.map(str::to_owned))
    }
}

/// Whether the body says that it is a form.
pub(super) fn is_form(request: &HttpRequest) -> bool {
    let stated = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = stated.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_counts_once_and_not_when_empty() {
        let params = Params::parse(b"a=1&b=&c=x%20y&c=z&a+b=2&d");
        assert_eq!(params.one("a"), Ok(Some("1")));
        assert_eq!(params.one("b"), Ok(None));
        assert_eq!(params.one("c"), Err(Repeated));
        assert_eq!(params.one("a b"), Ok(Some("2")));
        assert_eq!(params.one("d"), Ok(None));
        assert_eq!(params.one("e"), Ok(None));
    }
}
