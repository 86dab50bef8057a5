//! Mail by SMTP (RFC 5321): `smtps://USER:PASSWORD@HOST:PORT` (TLS from the start, RFC 8314) or
//! `smtp://…` (STARTTLS, RFC 3207).

use std::time::Duration;

use async_trait::async_trait;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

use crate::ports::mail::{Mail, MailError, MailMessage};

use super::{MailSettingError, written};

/// One command and its answer.
const COMMAND_DEADLINE: Duration = Duration::from_secs(20);
/// Everything, from the name's lookup to the server's last word.
const DEADLINE: Duration = Duration::from_secs(60);
const ERROR_SHOWN: usize = 300;

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protection {
    TlsFromTheStart,
    StartTlsOrNothing,
    /// STARTTLS where it is offered: no help against somebody in between.
    StartTlsIfOffered,
    Plain,
}

pub struct SmtpMail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl SmtpMail {
    pub fn open(url: &SecretString, from: Mailbox) -> Result<Self, MailSettingError> {
        let url = Url::parse(url.expose_secret()).map_err(|_| MailSettingError::Url("it is not a URL"))?;
        let host = host(&url)?;
        let protection = protection(&url)?;
        let tls = |to: &str| {
            TlsParameters::new(to.to_owned()).map_err(|_| MailSettingError::Url("the host's name fits no certificate"))
        };
        let (tls, port) = match protection {
            Protection::TlsFromTheStart => (Tls::Wrapper(tls(&host)?), 465),
            Protection::StartTlsOrNothing => (Tls::Required(tls(&host)?), 587),
            Protection::StartTlsIfOffered => (Tls::Opportunistic(tls(&host)?), 25),
            Protection::Plain => (Tls::None, 25),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(url.port().unwrap_or(port))
            .tls(tls)
            .timeout(Some(COMMAND_DEADLINE));
        if let Some(credentials) = credentials(&url)? {
            builder = builder.credentials(credentials);
        }
        Ok(Self { transport: builder.build(), from })
    }
}

#[async_trait]
impl Mail for SmtpMail {
    async fn send(&self, message: MailMessage) -> Result<(), MailError> {
        let message = written(&message, &self.from)?;
        match tokio::time::timeout(DEADLINE, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(cause)) => Err(MailError(shown(&cause.to_string()))),
            Err(_) => Err(MailError("the mail server took too long".to_owned())),
        }
    }
}

fn host(url: &Url) -> Result<String, MailSettingError> {
    if url.path().len() > 1 || url.fragment().is_some() {
        return Err(MailSettingError::Url("nothing may follow host and port but `?tls=`"));
    }
    let host = url.host().map(|host| host.to_string().trim_matches(['[', ']']).to_owned());
    host.filter(|host| !host.is_empty()).ok_or(MailSettingError::Url("the host is missing"))
}

/// `smtps` is TLS. `smtp` is STARTTLS or nothing, and on this machine STARTTLS where it is offered.
/// `?tls=` says otherwise, but never sends a password in the open to another machine.
fn protection(url: &Url) -> Result<Protection, MailSettingError> {
    let mut asked = None;
    for (name, value) in url.query_pairs() {
        match (name.as_ref(), value.as_ref()) {
            ("tls", "required") => asked = Some(Protection::StartTlsOrNothing),
            ("tls", "opportunistic") => asked = Some(Protection::StartTlsIfOffered),
            ("tls", "none") => asked = Some(Protection::Plain),
            _ => return Err(MailSettingError::Url("after `?` it takes tls=required, tls=opportunistic or tls=none")),
        }
    }
    let (here, has_password) = (is_loopback(url), !url.username().is_empty());
    match (url.scheme(), asked) {
        ("smtps", None) => Ok(Protection::TlsFromTheStart),
        ("smtps", Some(_)) => Err(MailSettingError::Url("`?tls=` belongs to smtp://; smtps:// is TLS from the start")),
        (_, Some(Protection::Plain | Protection::StartTlsIfOffered)) if has_password && !here => {
            Err(MailSettingError::Url("a password is only sent with smtps:// or tls=required"))
        }
        (_, Some(asked)) => Ok(asked),
        (_, None) if here => Ok(Protection::StartTlsIfOffered),
        (_, None) => Ok(Protection::StartTlsOrNothing),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        // In a scheme that is not the web's, the parser leaves IPv4 addresses as names.
        Some(Host::Domain(name)) => name == "localhost" || name.parse().is_ok_and(|ip: std::net::Ipv4Addr| ip.is_loopback()),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn credentials(url: &Url) -> Result<Option<Credentials>, MailSettingError> {
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) | (_, None) => Err(MailSettingError::Url("user and password come together, as in USER:PASSWORD@")),
        (user, Some(password)) => Ok(Some(Credentials::new(decoded(user)?, decoded(password)?))),
    }
}

/// Percent-decoding, by way of the form parser: what means something to a form is encoded first.
fn decoded(part: &str) -> Result<String, MailSettingError> {
    let form = part.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    let decoded = form_urlencoded::parse(form.as_bytes()).next().map(|(name, _)| name.into_owned());
    let sound = decoded.filter(|text| !text.contains(|c: char| c == '\u{fffd}' || c.is_control()));
    sound.ok_or(MailSettingError::Url("user and password must be percent-encoded UTF-8"))
}

/// A server's words for the log: one line, and not a long one.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(ERROR_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(url: &str) -> Result<Protection, MailSettingError> {
        protection(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_mail_server_elsewhere_is_spoken_to_in_tls_unless_somebody_says_otherwise() {
        use Protection::{Plain, StartTlsIfOffered, StartTlsOrNothing, TlsFromTheStart};
        let table = [
            ("smtps://h", TlsFromTheStart),
            ("smtps://u:p@h:1465", TlsFromTheStart),
            ("smtp://h", StartTlsOrNothing),
            ("smtp://u:p@h", StartTlsOrNothing),
            ("smtp://u:p@h?tls=required", StartTlsOrNothing),
            ("smtp://h?tls=opportunistic", StartTlsIfOffered),
            ("smtp://h?tls=none", Plain),
            ("smtp://localhost", StartTlsIfOffered),
            ("smtp://127.0.0.1:1025", StartTlsIfOffered),
            ("smtp://[::1]:1025", StartTlsIfOffered),
            ("smtp://u:p@127.0.0.1?tls=none", Plain),
            ("smtp://localhost?tls=required", StartTlsOrNothing),
        ];
        for (url, expected) in table {
            assert_eq!(judged(url), Ok(expected), "{url}");
        }
        for url in [
            "smtp://u:p@h?tls=none",
            "smtp://u:p@h?tls=opportunistic",
            "smtps://h?tls=required",
            "smtp://h?tls=maybe",
            "smtp://h?x=1",
        ] {
            assert!(judged(url).is_err(), "{url}");
        }
        assert!(judged("smtp://u:p@127.0.0.1.example.com?tls=none").is_err(), "a name that only looks like loopback");
    }

    #[test]
    fn user_and_password_are_decoded_and_come_together() {
        let of = |url: &str| credentials(&Url::parse(url).unwrap());
        let expected = Credentials::new("me@example.com".to_owned(), "a&b=c+d:é%/".to_owned());
        assert_eq!(of("smtps://me%40example.com:a&b=c+d%3A%C3%A9%25%2F@h"), Ok(Some(expected)));
        assert_eq!(of("smtps://h"), Ok(None));
        for url in ["smtps://user@h", "smtps://:password@h", "smtps://u:%ff@h", "smtps://u:a%0Ab@h"] {
            assert!(of(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_servers_words_fit_on_one_line() {
        assert_eq!(shown("550\r\n\u{1b}[31mno"), "550   [31mno");
        assert_eq!(shown(&"é".repeat(1000)).chars().count(), ERROR_SHOWN);
    }
}
