//! The words of a question to a person.

use std::fmt::Write;

use crate::api::Features;
use crate::entities::{self, Entity};
use crate::foundation::printable::is_unprintable;
use crate::tools::{Destruction, Effect, Seen};

/// The most characters of a title.
const MAX_TITLE: usize = 60;

/// What the person is asked. `may_read` says of which kinds of items titles may be shown.
pub fn text(
    destruction: &Destruction,
    seen: &[Seen],
    may_read: impl Fn(&Entity) -> bool,
    features: Features,
) -> String {
    let mut text = match destruction.acts.as_slice() {
        [act] => {
            let item = match seen.first() {
                Some(Seen::Found { title, .. }) if may_read(act.entity) => quoted(title),
                _ => None,
            };
            let uid = || act.uid.map(|uid| uid.to_string());
            let item = item.or_else(uid).unwrap_or_default();
            let label = act.entity.label;
            match act.effect {
                Effect::Delete => format!("Delete the {label} {item}?"),
                Effect::Replace(to) => {
                    format!("Replace the {label} {item} with version {to} of it?")
                }
            }
        }
        _ => several(destruction, seen, may_read),
    };
    match destruction.others {
        0 => {}
        1 => text.push_str(" One other change is made with it."),
        others => {
            let _ = write!(text, " {others} other changes are made with it.");
        }
    }
    text.push_str(if features.has(Features::VERSIONS) {
        " This can be undone later."
    } else {
        " This cannot be undone."
    });
    text
}

fn several(destruction: &Destruction, seen: &[Seen], may_read: impl Fn(&Entity) -> bool) -> String {
    let deleted = counts(destruction, |effect| effect == Effect::Delete);
    let replaced = counts(destruction, |effect| effect != Effect::Delete);
    let mut text = match (deleted, replaced) {
        (Some(deleted), Some(replaced)) => {
            format!("Delete {deleted}, and replace {replaced} with earlier versions?")
        }
        (Some(deleted), None) => format!("Delete {deleted}?"),
        (None, replaced) => format!(
            "Replace {} with earlier versions?",
            replaced.unwrap_or_default()
        ),
    };
    let titles: Vec<_> = destruction
        .acts
        .iter()
        .zip(seen)
        .filter(|(act, _)| may_read(act.entity))
        .filter_map(|(_, seen)| match seen {
            Seen::Found { title, .. } => quoted(title),
            Seen::Gone => None,
        })
        .collect();
    if !titles.is_empty() {
        let more = destruction.acts.len() - titles.len();
        let _ = write!(text, " {}", titles.join(", "));
        if more > 0 {
            let _ = write!(text, " and {more} more");
        }
        text.push('.');
    }
    text
}

/// "5 notes and 1 task".
fn counts(destruction: &Destruction, counted: impl Fn(Effect) -> bool) -> Option<String> {
    let mut words = Vec::new();
    for entity in entities::ALL {
        let acts = destruction.acts.iter();
        let number = acts
            .filter(|act| act.entity.key == entity.key && counted(act.effect))
            .count();
        match number {
            0 => {}
            1 => words.push(format!("1 {}", entity.label)),
            _ => words.push(format!("{number} {}", entity.label_plural)),
        }
    }
    let last = words.pop()?;
    Some(if words.is_empty() {
        last
    } else {
        format!("{} and {last}", words.join(", "))
    })
}

/// A title from the store, which may try to look like something else: like the end of the title,
/// another line, a link, or text in another direction.
fn quoted(title: &str) -> Option<String> {
    let plain = |letter: char| match letter {
        letter if letter.is_whitespace() || is_unprintable(letter) => ' ',
        '"' | '＂' | '“' | '”' | '„' | '‟' | '❝' | '❞' | '❠' | '〝' | '〞' | '〟' | '″' | '‶'
        | '«' | '»' | '‹' | '›' | '《' | '》' | '`' => '\'',
        '[' | '{' | '<' => '(',
        ']' | '}' | '>' => ')',
        '*' | '_' | '~' | '|' | '\\' | '#' => '-',
        letter => letter,
    };
    let mut shown = String::new();
    // Not more than the beginning of the text is looked at, which may have a megabyte.
    let beginning = title.trim_start().chars().take(4 * MAX_TITLE).map(plain);
    for letter in beginning {
        if letter != ' ' || !(shown.is_empty() || shown.ends_with(' ')) {
            shown.push(letter);
        }
    }
    let mut short: String = shown.chars().take(MAX_TITLE).collect();
    if short.len() < shown.len() {
        short.push('…');
    }
    let short = short.trim();
    (!short.is_empty()).then(|| format!("“{short}”"))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::tools::Act;

    fn act(kind: &str, effect: Effect) -> Act {
        Act {
            entity: Entity::by_key(kind).unwrap(),
            uid: Some(Uuid::nil()),
            effect,
        }
    }

    fn found(title: &str) -> Seen {
        let title = title.to_owned();
        let version = Some(1);
        Seen::Found { title, version }
    }

    fn asked(acts: Vec<Act>, others: usize, seen: &[Seen]) -> String {
        let destruction = Destruction { acts, others };
        text(&destruction, seen, |_| true, Features::ALL)
    }

    #[test]
    fn names_one_item() {
        let one = || Destruction::of(act("note", Effect::Delete));
        let seen = [found("Groceries")];
        assert_eq!(
            text(&one(), &seen, |_| true, Features::ALL),
            "Delete the note “Groceries”? This can be undone later."
        );
        let uid = Uuid::nil();
        assert_eq!(
            text(&one(), &seen, |_| false, Features::NONE),
            format!("Delete the note {uid}? This cannot be undone.")
        );
        assert_eq!(
            asked(vec![act("chat", Effect::Replace(3))], 0, &[found("Team")]),
            "Replace the chat “Team” with version 3 of it? This can be undone later."
        );
    }

    #[test]
    fn counts_several_items() {
        let mut acts = vec![act("note", Effect::Delete); 5];
        acts.push(act("chat_message", Effect::Delete));
        let seen = [found("A"), Seen::Gone, found("C")];
        assert_eq!(
            asked(acts.clone(), 1, &seen),
            "Delete 5 notes and 1 chat message? “A”, “C” and 4 more. One other change is made with \
             it. This can be undone later."
        );
        acts.push(act("task", Effect::Replace(2)));
        assert_eq!(
            asked(acts, 2, &[]),
            "Delete 5 notes and 1 chat message, and replace 1 task with earlier versions? 2 other \
             changes are made with it. This can be undone later."
        );
    }

    #[test]
    fn titles_are_bounded_and_plain() {
        for (title, shown) in [
            ("  a\n\t b\u{202e}c\u{0}  ", "“a b c”"),
            ("x”? No. Delete “y", "“x'? No. Delete 'y”"),
            ("a❞ b＂ c〞 d〟 e‶ f″ g›", "“a' b' c' d' e' f' g'”"),
            (
                "[free](http://x) <b>*now*</b>",
                "“(free)(http://x) (b)-now-(/b)”",
            ),
            ("\u{200b}\u{feff}", ""),
            ("", ""),
        ] {
            assert_eq!(quoted(title).unwrap_or_default(), shown, "{title:?}");
        }
        let long = quoted(&"é".repeat(1 << 20)).unwrap();
        assert_eq!(long.chars().count(), MAX_TITLE + 3);
        let acts = vec![act("note", Effect::Delete); 100];
        let seen = [(); 3].map(|()| found(&"\u{1f980}\u{202e}".repeat(5000)));
        let text = asked(acts, 0, &seen);
        assert!(text.chars().count() < 400, "{text}");
        assert!(!text.chars().any(is_unprintable), "{text}");
    }
}
