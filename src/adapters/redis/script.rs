//! The scripts, and how one is called: by its hash, and with its text where the server has forgotten it.

use std::sync::LazyLock;

use redis::{Cmd, Script};

pub static COMMIT: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("commit.lua")));
pub static TAKE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("take.lua")));
pub static SETTLE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("settle.lua")));
pub static SWEEP: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("sweep.lua")));

pub static MARK: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("mark.lua")));

pub struct Lua {
    text: &'static str,
    hash: String,
}

impl Lua {
    fn new(text: &'static str) -> Self {
        Self { text, hash: Script::new(text).get_hash().to_owned() }
    }

    pub fn by_hash(&self, keys: &[Vec<u8>], arguments: &[Vec<u8>]) -> Cmd {
        command("EVALSHA", &self.hash, keys, arguments)
    }

    pub fn by_text(&self, keys: &[Vec<u8>], arguments: &[Vec<u8>]) -> Cmd {
        command("EVAL", self.text, keys, arguments)
    }
}

fn command(verb: &str, script: &str, keys: &[Vec<u8>], arguments: &[Vec<u8>]) -> Cmd {
    let mut command = redis::cmd(verb);
    command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
    command
}
