//! Text of others, made fit to be shown to people. Escaping is the template's work.

/// Most characters of a foreign name on a page.
const SHOWN_MAX: usize = 48;

/// At most `SHOWN_MAX` characters, the middle left out, and no character that is invisible or turns
/// the direction of what follows: a name must not be able to rewrite the sentence around it.
pub fn shown(text: &str) -> String {
    let chars: Vec<char> = text.chars().map(|c| if is_deceptive(c) { '\u{fffd}' } else { c }).collect();
    if chars.len() <= SHOWN_MAX {
        return chars.into_iter().collect();
    }
    let (head, tail) = (SHOWN_MAX * 2 / 3, SHOWN_MAX / 3 - 1);
    chars[..head].iter().chain(&['…']).chain(&chars[chars.len() - tail..]).collect()
}

fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_stay_and_long_ones_lose_their_middle() {
        assert_eq!(shown("user_1"), "user_1");
        assert_eq!(shown(&"é".repeat(SHOWN_MAX)), "é".repeat(SHOWN_MAX));
        let long = shown(&format!("{}{}", "a".repeat(100), "z".repeat(100)));
        assert_eq!(long.chars().count(), SHOWN_MAX);
        assert!(long.starts_with("aaa") && long.contains('…') && long.ends_with("zzz"));
    }

    #[test]
    fn nothing_invisible_and_nothing_that_turns_direction_is_shown() {
        for deceptive in ['\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}', '\n', '\u{85}', '\u{2028}'] {
            assert_eq!(shown(&format!("a{deceptive}b")), "a\u{fffd}b");
        }
    }
}
