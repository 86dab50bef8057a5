//! Text with holes, as provider files use it in URLs, params and headers: `{name}`, or a function as
//! `expression` has them. No loops: rendering is linear in what comes out, which has a limit, and every
//! value is encoded for its place.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::Url;

use super::expression::{Expression, checked_name};

/// Longest template, in bytes.
pub const TEMPLATE_MAX: usize = 2_000;
/// Longest text that a template may become, in bytes: some tokens of the longest kind.
pub const RENDERED_MAX: usize = 256 * 1_024;

/// Everything but RFC 3986's unreserved characters.
pub(super) const COMPONENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'!')
    .add(b'"')
    .add(b'#')
    .add(b'$')
    .add(b'%')
    .add(b'&')
    .add(b'\'')
    .add(b'(')
    .add(b')')
    .add(b'*')
    .add(b'+')
    .add(b',')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Why a template cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("is longer than {TEMPLATE_MAX} bytes")]
    TooLong,
    #[error("has a '{{' without its '}}' (write '{{{{' for the character itself)")]
    Unclosed,
    #[error("has a '}}' without its '{{' (write '}}}}' for the character itself)")]
    Unopened,
    #[error("has `{{{0}}}`, which is not a name of letters, digits, '_', '-' and '.', nor a function of such")]
    BadName(String),
    #[error("has `{0}(…)`, which is no function; known are {1}")]
    BadFunction(String, String),
    #[error("has `{0}(…)` with the wrong number of arguments")]
    BadArguments(String),
    #[error("has functions in functions too deep")]
    TooDeep,
    #[error("must not have a function in its host")]
    FunctionInHost,
    #[error("must begin with https:// and a host, or with a param of the kind `origin`")]
    NotHttps,
    #[error("must not have user information, a fragment or white space")]
    BadUrl,
}

/// Why a template cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("`{0}` has no value")]
    Missing(String),
    #[error("the values do not make a URL of the declared shape")]
    BadUrl,
    #[error("it becomes longer than {RENDERED_MAX} bytes")]
    TooLong,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Hole(Expression),
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

/// The values at hand while a request is built.
#[derive(Default)]
pub struct Values<'a>(BTreeMap<String, Cow<'a, str>>);

impl<'a> Values<'a> {
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Cow<'a, str>>) {
        self.0.insert(name.into(), value.into());
    }

    pub(super) fn get(&self, name: &str) -> Result<&str, RenderError> {
        self.0.get(name).map(Cow::as_ref).ok_or_else(|| RenderError::Missing(name.to_owned()))
    }
}

impl Template {
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_MAX {
            return Err(TemplateError::TooLong);
        }
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            literal.push_str(before);
            if let Some(after) = brace.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = brace.strip_prefix("}}") {
                literal.push('}');
                rest = after;
            } else if let Some(after) = brace.strip_prefix('{') {
                let (hole, after) = after.split_once('}').ok_or(TemplateError::Unclosed)?;
                flush(&mut literal, &mut pieces);
                pieces.push(Piece::Hole(Expression::parse(hole)?));
                rest = after;
            } else {
                return Err(TemplateError::Unopened);
            }
        }
        literal.push_str(rest);
        flush(&mut literal, &mut pieces);
        Ok(Self { pieces })
    }

    /// The names of its holes.
    pub fn names(&self) -> BTreeSet<&str> {
        self.pieces.iter().filter_map(Piece::hole).flat_map(Expression::names).collect()
    }

    /// Those of them that do not stand in an HMAC alone.
    pub fn told(&self) -> BTreeSet<&str> {
        self.pieces.iter().filter_map(Piece::hole).flat_map(Expression::told).collect()
    }

    /// No hole of it is a function.
    fn is_plain(&self) -> bool {
        self.pieces.iter().filter_map(Piece::hole).all(Expression::is_name)
    }

    /// Filled in as it stands, for a place that encodes for itself (form and JSON bodies).
    pub fn render(&self, values: &Values<'_>) -> Result<String, RenderError> {
        self.render_with(values, |value| value.to_owned())
    }

    fn render_with(&self, values: &Values<'_>, encode: impl Fn(&str) -> String) -> Result<String, RenderError> {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Hole(expression) => out.push_str(&encode(&expression.value(values)?)),
            }
            if out.len() > RENDERED_MAX {
                return Err(RenderError::TooLong);
            }
        }
        Ok(out)
    }
}

impl Piece {
    fn hole(&self) -> Option<&Expression> {
        match self {
            Piece::Hole(expression) => Some(expression),
            Piece::Text(_) => None,
        }
    }
}

fn flush(literal: &mut String, pieces: &mut Vec<Piece>) {
    if !literal.is_empty() {
        pieces.push(Piece::Text(std::mem::take(literal)));
    }
}

/// A URL with holes. Its three parts are told apart before any value is known, so that no value can
/// move from one part to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlTemplate {
    source: String,
    base: Base,
    /// From the first '/', without the query.
    path: Template,
    query: Option<Template>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Base {
    /// `https://` and this authority.
    Https(Template),
    /// `http://` and a loopback authority, as it is written.
    Loopback(String),
    /// A param that holds scheme, host and port.
    Origin(String),
}

impl UrlTemplate {
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.contains(['#', '\\']) || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(TemplateError::BadUrl);
        }
        let (base, rest) = split_base(text)?;
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(Template::parse(query)?)),
            None => (rest, None),
        };
        let path = Template::parse(if path.is_empty() { "/" } else { path })?;
        Ok(Self { source: text.to_owned(), base, path, query })
    }

    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Holes that name (part of) a host.
    pub fn host_names(&self) -> BTreeSet<&str> {
        match &self.base {
            Base::Https(authority) => authority.names(),
            Base::Loopback(_) | Base::Origin(_) => BTreeSet::new(),
        }
    }

    /// The hole that stands for scheme, host and port.
    pub fn origin_name(&self) -> Option<&str> {
        match &self.base {
            Base::Https(_) | Base::Loopback(_) => None,
            Base::Origin(name) => Some(name),
        }
    }

    /// It stays on this machine and in clear: for a provider that a developer runs beside the server.
    pub fn is_loopback(&self) -> bool {
        matches!(self.base, Base::Loopback(_))
    }

    /// Whether the host is this hole and nothing else, or this hole in front of a domain that is written out.
    pub fn host_is(&self, name: &str, in_front: bool) -> bool {
        let Base::Https(authority) = &self.base else { return false };
        let is_it = |piece: &Piece| piece.hole() == Some(&Expression::Name(name.to_owned()));
        match authority.pieces.as_slice() {
            [hole] => !in_front && is_it(hole),
            [hole, Piece::Text(domain)] => {
                in_front && is_it(hole) && domain.strip_prefix('.').is_some_and(|domain| domain.contains('.'))
            }
            _ => false,
        }
    }

    /// Every hole.
    pub fn names(&self) -> BTreeSet<&str> {
        self.host_names().into_iter().chain(self.origin_name()).chain(self.path_names()).collect()
    }

    /// Holes behind the host.
    pub fn path_names(&self) -> BTreeSet<&str> {
        let query = self.query.iter().flat_map(Template::names);
        self.path.names().into_iter().chain(query).collect()
    }

    /// Those of them that do not stand in an HMAC alone.
    pub fn path_told(&self) -> BTreeSet<&str> {
        let query = self.query.iter().flat_map(Template::told);
        self.path.told().into_iter().chain(query).collect()
    }

    /// As [`UrlTemplate::render`], to the letter: without the '/' that every URL has behind its host where the file has
    /// none. Who compares issuers compares texts (RFC 8414 3.3).
    pub fn render_text(&self, values: &Values<'_>) -> Result<String, RenderError> {
        let url = String::from(self.render(values)?);
        let bare = self.query.is_none() && self.path.pieces == [Piece::Text("/".to_owned())] && !self.source.ends_with('/');
        Ok(if bare { url.trim_end_matches('/').to_owned() } else { url })
    }

    /// Whether it has the same scheme and host as another, whatever the values.
    pub fn shares_host(&self, other: &UrlTemplate) -> bool {
        self.base == other.base
    }

    /// The URL with its values, percent-encoded for their places. What comes out has the host that
    /// went in and the path that the file drew: a value of `..` or `a@b` is refused, not followed.
    pub fn render(&self, values: &Values<'_>) -> Result<Url, RenderError> {
        // An empty value would leave a host or a path that the file did not draw.
        for name in self.host_names().into_iter().chain(self.path.names()) {
            if values.get(name)?.is_empty() {
                return Err(RenderError::BadUrl);
            }
        }
        let base = match &self.base {
            Base::Https(authority) => format!("https://{}", authority.render(values)?),
            Base::Loopback(authority) => format!("http://{authority}"),
            Base::Origin(name) => values.get(name)?.trim_end_matches('/').to_owned(),
        };
        let component = |value: &str| utf8_percent_encode(value, COMPONENT).to_string();
        let path = self.path.render_with(values, component)?;
        let mut whole = format!("{base}{path}");
        if let Some(query) = &self.query {
            whole.push('?');
            whole.push_str(&query.render_with(values, component)?);
        }
        let url = Url::parse(&whole).map_err(|_| RenderError::BadUrl)?;
        let origin = Url::parse(&base).map_err(|_| RenderError::BadUrl)?;
        if url.path() != path || !same_origin(&url, &origin) || url.fragment().is_some() {
            return Err(RenderError::BadUrl);
        }
        Ok(url)
    }
}

fn split_base(text: &str) -> Result<(Base, &str), TemplateError> {
    if let Some(rest) = text.strip_prefix("https://") {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if authority.is_empty() || authority.contains('@') {
            return Err(TemplateError::NotHttps);
        }
        let authority = Template::parse(authority)?;
        return if authority.is_plain() { Ok((Base::Https(authority), rest)) } else { Err(TemplateError::FunctionInHost) };
    }
    if let Some(rest) = text.strip_prefix("http://") {
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        return if is_loopback(authority) {
            Ok((Base::Loopback(authority.to_owned()), rest))
        } else {
            Err(TemplateError::NotHttps)
        };
    }
    let (name, rest) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')).ok_or(TemplateError::NotHttps)?;
    if !(rest.is_empty() || rest.starts_with(['/', '?'])) {
        return Err(TemplateError::NotHttps);
    }
    Ok((Base::Origin(checked_name(name)?), rest))
}

/// A loopback host, with or without a port; nothing else of an authority.
fn is_loopback(authority: &str) -> bool {
    let port = ["localhost", "127.0.0.1", "[::1]"].iter().find_map(|host| authority.strip_prefix(host));
    port.is_some_and(|port| port.is_empty() || port.strip_prefix(':').is_some_and(|digits| digits.parse::<u16>().is_ok()))
}

fn same_origin(url: &Url, base: &Url) -> bool {
    url.scheme() == base.scheme()
        && url.host_str() == base.host_str()
        && url.port() == base.port()
        && url.username().is_empty()
        && url.password().is_none()
        && matches!(base.path(), "" | "/")
        && base.query().is_none()
}

#[cfg(test)]
mod tests;
