//! A provider that keeps books. It rotates refresh tokens as its classes do, does what a script says
//! to single requests (late, half, lost, refused), and records every token it issued and every one it
//! was shown, so that it can be asked afterwards: is a grant lost, was a family revoked, was a token
//! sent twice. It runs on a thread of its own, so it serves tests in this process and real `claviger`
//! processes alike; to the latter by TLS, since `serve` calls nothing else.

#![allow(dead_code, unused_imports, reason = "shared by test binaries; each uses a part")]

pub mod book;
mod certificate;
mod desk;
mod direct;
mod file;
pub mod oracle;
pub mod script;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;

pub use book::{Class, Ended, GrantNo, Grants, Issued};
pub use oracle::{Crimes, Presented};
pub use script::{Dice, End, Fault, Wait};

use book::Book;
use desk::Desk;
use script::Script;

/// Reads the time that grace windows and access tokens are measured with.
pub type Time = Arc<dyn Fn() -> Duration + Send + Sync>;

pub struct Ledger {
    desk: Arc<Desk>,
    doors: Mutex<Vec<u16>>,
    certificate: Option<certificate::Certificate>,
    /// Taken on drop: it must not be dropped where another runtime runs.
    runtime: Option<Runtime>,
}

impl Ledger {
    /// By plain HTTP, for tests in this process.
    pub fn start() -> Self {
        Self::with(real_time(), None)
    }

    /// As [`Ledger::start`], with the clock of the test.
    pub fn on_time(time: Time) -> Self {
        Self::with(time, None)
    }

    /// By HTTPS with a certificate of its own; [`Ledger::roots`] is the file that vouches for it.
    pub fn start_tls() -> Self {
        Self::with(real_time(), Some(certificate::Certificate::make()))
    }

    fn with(time: Time, certificate: Option<certificate::Certificate>) -> Self {
        let desk = Arc::new(Desk::new(time));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().thread_name("ledger").build();
        let ledger = Self { desk, doors: Mutex::default(), certificate, runtime: Some(runtime.expect("a runtime")) };
        ledger.open_door();
        ledger
    }

    /// A further address of the same provider; whoever is given it is told apart by its number. The
    /// first is 0.
    pub fn open_door(&self) -> usize {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let mut doors = lock(&self.doors);
        doors.push(listener.local_addr().expect("an address").port());
        let (desk, door) = (self.desk.clone(), doors.len() - 1);
        let tls = self.certificate.as_ref().map(certificate::Certificate::acceptor);
        let runtime = self.runtime.as_ref().expect("it runs");
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            wire::accept(listener, tls, desk, door).await;
        });
        door
    }

    /// Host and port of a door, as `egress.allow` takes it.
    pub fn authority(&self, door: usize) -> String {
        format!("127.0.0.1:{}", lock(&self.doors)[door])
    }

    pub fn origin(&self, door: usize) -> String {
        format!("http{}://{}", if self.certificate.is_some() { "s" } else { "" }, self.authority(door))
    }

    /// For `SSL_CERT_FILE` of whoever is to trust this provider.
    pub fn roots(&self) -> &Path {
        self.certificate.as_ref().expect("it was started with TLS").roots()
    }

    /// The provider file for one class; the id of the provider is [`Class::name`].
    pub fn provider_file(&self, class: Class, door: usize) -> String {
        self.provider_file_with(class, door, "")
    }

    /// With more lines for `[refresh]`.
    pub fn provider_file_with(&self, class: Class, door: usize, refresh: &str) -> String {
        file::provider_file(class, &self.origin(door), self.book().window(class), refresh)
    }

    /// Writes the files of all classes into a folder, for `providers.dir`.
    pub fn write_provider_files(&self, folder: &Path, door: usize, refresh: &str) -> Vec<PathBuf> {
        let write = |class: Class| {
            let path = folder.join(format!("{}.toml", class.name()));
            std::fs::write(&path, self.provider_file_with(class, door, refresh)).expect("a file");
            path
        };
        Class::ALL.into_iter().map(write).collect()
    }

    /// A consent that was given elsewhere: its first tokens, to be imported.
    pub fn grant(&self, class: Class) -> Issued {
        self.book().grant(class, self.now())
    }

    /// How long access tokens live that are issued from now on; an hour unless said.
    pub fn set_life(&self, life: Duration) {
        self.book().life = life;
    }

    /// How long a used refresh token stays good in the classes with a window; 30 s unless said. Comes
    /// before the provider files are made.
    pub fn set_window(&self, window: Duration) {
        self.book().window = window;
    }

    /// What happens to the next requests with a token of this grant, in turn.
    pub fn next(&self, grant: GrantNo, fault: impl Into<Fault>) -> &Self {
        lock(&self.desk.script).next(grant, fault.into());
        self
    }

    /// Decides for each request that nothing in [`Ledger::next`] is for.
    pub fn always(&self, decide: impl FnMut(GrantNo) -> Fault + Send + 'static) -> &Self {
        lock(&self.desk.script).always = Box::new(decide);
        self
    }

    /// Every request is answered as it should be again.
    pub fn behave(&self) -> &Self {
        *lock(&self.desk.script) = Script::default();
        self
    }

    /// The moment on the clock that stands in all records.
    pub fn now(&self) -> Duration {
        (self.desk.time)()
    }

    /// Returns once so many refreshes have come in all.
    pub async fn arrived(&self, count: usize) {
        let mut arrived = self.desk.arrived.subscribe();
        let waited = tokio::time::timeout(Duration::from_secs(60), arrived.wait_for(|arrived| *arrived >= count)).await;
        waited.unwrap_or_else(|_| panic!("{count} refreshes never came")).expect("the provider runs");
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.desk.book)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Since it was first asked, and never backwards.
fn real_time() -> Time {
    let start = Instant::now();
    Arc::new(move || start.elapsed())
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().expect("no test panicked with the lock")
}
