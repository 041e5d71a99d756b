use std::collections::HashSet;

use super::*;

/// Checks the rules for entities that the types cannot express.
#[test]
fn entities_are_consistent() {
    let mut names = HashSet::new();
    for entity in ALL {
        assert!(
            names.insert(entity.key) && names.insert(entity.plural),
            "{} comes twice",
            entity.key
        );
        assert_eq!(entity.label, entity.key.replace('_', " "));
        assert_eq!(entity.label_plural, entity.plural.replace('_', " "));
        assert!(
            !entity.actions.is_empty(),
            "{} cannot be processed",
            entity.key
        );

        let mut spellings = HashSet::new();
        for field in entity.fields {
            assert_eq!(
                field.wire,
                camel_case(field.name),
                "{}.{}",
                entity.key,
                field.name
            );
            assert!(
                spellings.insert(field.name),
                "{}.{} comes twice",
                entity.key,
                field.name
            );
            assert!(!field.description.is_empty());
        }
        if let Undo::Action(name) = entity.archive.undo {
            assert!(
                entity.actions.iter().any(|action| action.name == name),
                "{}: undo {name}",
                entity.key
            );
        }
    }
}

#[test]
fn a_parent_rule_names_required_fields_and_known_entities() {
    for entity in ALL {
        let Some(parent) = &entity.parent else {
            assert_eq!(entity.parent_fields().count(), 0);
            continue;
        };
        assert_eq!(entity.field(parent.uid).unwrap().kind, Kind::Uid);
        assert!(entity.parent_fields().all(|field| field.required));
        match parent.entity {
            ParentEntity::Always(key) => assert!(Entity::by_key(key).is_some()),
            ParentEntity::NamedBy(field) => {
                let Kind::Choice(keys) = entity.field(field).unwrap().kind else {
                    panic!("{field} is no choice")
                };
                assert!(keys.iter().all(|key| Entity::by_key(key).is_some()));
            }
        }
    }
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap().to_owned();
    words.fold(first, |done, word| {
        done + &word[..1].to_uppercase() + &word[1..]
    })
}

#[test]
fn the_list_of_keys_is_complete() {
    assert_eq!(keys(), ["note", "task", "comment", "chat", "chat_message"]);
}
