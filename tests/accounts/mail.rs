//! The mail adapters: what a folder holds, what a mail server is told, and which settings are refused.

use std::sync::Arc;

use claviger::adapters::mail::{EachMail, LogMail, World, open};
use claviger::ports::mail::{Mail, MailMessage};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::clock::TestClock;
use crate::harness::{Random, log};

const FROM: &str = "Claviger <no-reply@claviger.example>";

fn world() -> World {
    World { clock: TestClock::new(), entropy: Arc::new(Random) }
}

fn message(to: &str, subject: &str, text: &str) -> MailMessage {
    MailMessage { to: to.to_owned(), subject: subject.to_owned(), text: text.to_owned() }
}

fn opened(url: &str) -> Arc<dyn Mail> {
    open(&url.into(), FROM, world()).unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test]
async fn a_folder_holds_one_whole_mail_a_file_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("mail/out");
    let mail = opened(&format!("dir:{}", folder.display()));
    for n in 0..20 {
        mail.send(message("dev@example.com", "Confirm your address", &format!("Your code: 01234{n}\n"))).await.unwrap();
    }
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 20, "{files:?}");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in &files {
        assert_eq!((file.extension().unwrap().to_str(), mode(file)), (Some("eml"), 0o600));
        let text = std::fs::read_to_string(file).unwrap();
        for part in [
            "From: Claviger <no-reply@claviger.example>",
            "To: dev@example.com",
            "Subject: Confirm your address",
            "Auto-Submitted: auto-generated",
            "Your code: 01234",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

#[tokio::test]
async fn nothing_in_a_mail_begins_a_header_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mail = opened(&format!("dir:{}", folder.path().display()));
    mail.send(message("dev@example.com", "Hello\r\nBcc: victim@example.com", "text")).await.unwrap();
    let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    assert!(!std::fs::read_to_string(file).unwrap().contains("\nBcc:"));
    for to in ["dev@example.com\r\nBcc: victim@example.com", "dev@example.com, victim@example.com", "dev", ""] {
        assert!(mail.send(message(to, "Hello", "text")).await.is_err(), "{to:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half-made is left");
}

#[tokio::test]
async fn the_log_shows_the_mail_since_that_is_what_it_is_for_and_each_means_each() {
    let folder = tempfile::tempdir().unwrap();
    let both = EachMail(vec![opened(&format!("dir:{}", folder.path().display())), Arc::new(LogMail)]);
    log();
    both.send(message("log@example.com", "Hello", "Your code: 271828")).await.unwrap();
    assert!(log().text().contains("Your code: 271828"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_setting_that_cannot_be_used_is_named_and_no_password_in_it_is_shown() {
    let settings = [
        ("", "must be smtps://HOST"),
        ("http://example.com", "must be smtps://HOST"),
        ("log:x", "must be smtps://HOST"),
        ("dir:", "needs a path"),
        ("dir:/proc/no/such", "cannot be used"),
        ("smtp://", "host"),
        ("smtps://u:p-secret@host:99999", "not a URL"),
        ("smtp://u:p-secret@mail.example.com?tls=none", "only sent with smtps://"),
        ("smtp://u:p-secret@mail.example.com/inbox", "nothing may follow"),
        ("smtps://user@mail.example.com", "come together"),
        ("smtp://u:p-secret@mail.example.com?tls=perhaps", "tls=required"),
    ];
    for (url, said) in settings {
        let error = open(&url.into(), FROM, world()).err().unwrap_or_else(|| panic!("{url} was accepted")).to_string();
        assert!(error.contains("`mail.url`") && error.contains(said), "{url}: {error}");
        assert!(!error.contains("p-secret"), "{error}");
    }
    let error = open(&"log:".into(), "not an address", world()).err().unwrap().to_string();
    assert!(error.contains("`mail.from`"), "{error}");
}

/// A mail server for one conversation. Returns all that it was told.
struct SmtpServer {
    port: u16,
    heard: JoinHandle<Vec<String>>,
}

impl SmtpServer {
    /// `extensions`: what it offers; `on_recipient`: how it answers `RCPT TO`.
    async fn start(extensions: &'static [&'static str], on_recipient: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            let mut heard = Vec::new();
            let mut in_data = false;
            write.write_all(b"220 test\r\n").await.unwrap();
            while let Ok(Some(line)) = lines.next_line().await {
                let answer = match line.split([' ', ':']).next().unwrap_or_default() {
                    _ if in_data && line != "." => String::new(),
                    "." => "250 taken\r\n".to_owned(),
                    "EHLO" => {
                        let offered: String = extensions.iter().map(|name| format!("250-{name}\r\n")).collect();
                        format!("250-test\r\n{offered}250 8BITMIME\r\n")
                    }
                    "AUTH" => "235 welcome\r\n".to_owned(),
                    "RCPT" => format!("{on_recipient}\r\n"),
                    "DATA" => "354 go on\r\n".to_owned(),
                    "QUIT" => "221 bye\r\n".to_owned(),
                    _ => "250 fine\r\n".to_owned(),
                };
                in_data = (in_data || line == "DATA") && line != ".";
                heard.push(line);
                if write.write_all(answer.as_bytes()).await.is_err() {
                    break;
                }
            }
            heard
        });
        Self { port, heard }
    }
}

#[tokio::test]
async fn a_mail_server_on_this_machine_is_told_sender_recipient_and_text() {
    let server = SmtpServer::start(&["AUTH PLAIN"], "250 fine").await;
    let mail = opened(&format!("smtp://me%40example.com:p%3Aw@127.0.0.1:{}", server.port));
    mail.send(message("dev@example.com", "Confirm your address", "Your code: 012345\n")).await.unwrap();
    let heard = server.heard.await.unwrap();
    let said = |part: &str| heard.iter().any(|line| line.contains(part));
    for part in [
        "AUTH PLAIN AG1lQGV4YW1wbGUuY29tAHA6dw==",
        "MAIL FROM:<no-reply@claviger.example>",
        "RCPT TO:<dev@example.com>",
        "Your code: 012345",
    ] {
        assert!(said(part), "{part}: {heard:?}");
    }
}

#[tokio::test]
async fn a_server_that_says_no_is_an_error_with_its_words() {
    let server = SmtpServer::start(&[], "550 no such user here").await;
    let mail = opened(&format!("smtp://127.0.0.1:{}", server.port));
    let error = mail.send(message("dev@example.com", "Hello", "text")).await.unwrap_err();
    assert!(error.to_string().contains("no such user here"), "{error}");
    assert!(!server.heard.await.unwrap().contains(&"DATA".to_owned()));
}

#[tokio::test]
async fn where_tls_is_required_nothing_is_said_without_it() {
    let server = SmtpServer::start(&["AUTH PLAIN"], "250 fine").await;
    let mail = opened(&format!("smtp://user:password@127.0.0.1:{}?tls=required", server.port));
    assert!(mail.send(message("dev@example.com", "Hello", "text")).await.is_err());
    let heard = server.heard.await.unwrap();
    assert!(heard.iter().all(|line| line.starts_with("EHLO") || line == "QUIT"), "{heard:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mail = opened(&format!("smtp://127.0.0.1:{port}"));
    assert!(mail.send(message("dev@example.com", "Hello", "text")).await.is_err());
}
