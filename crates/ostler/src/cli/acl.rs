//! ACLs as the shell reads and prints them. Answers to `AclParser`: what cannot be read is complained about and left
//! out.

use std::fmt::Write as _;

use ostler_wire::Acl;

use crate::perms;

/// The ACLs in a text such as `world:anyone:r,auth::cdrwa`, and what was wrong with the others, a line each.
pub(super) fn parse(text: &str) -> (Vec<Acl>, String) {
    let (mut list, mut complaints) = (Vec::new(), String::new());
    // Java drops empty parts at the end, but not the only one.
    let mut parts: Vec<&str> = text.split(',').collect();
    while parts.len() > 1 && parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    for part in parts {
        let (Some(first), Some(last)) = (part.find(':'), part.rfind(':')) else {
            let _ = writeln!(complaints, "{part} does not have the form scheme:id:perm");
            continue;
        };
        if first == last {
            let _ = writeln!(complaints, "{part} does not have the form scheme:id:perm");
            continue;
        }
        let mut bits = 0;
        for letter in part[last + 1..].chars() {
            match perms::bit(letter) {
                Some(bit) => bits |= bit,
                None => {
                    let _ = writeln!(complaints, "Unknown perm type: {letter}");
                }
            }
        }
        list.push(Acl::new(bits, &part[..first], &part[first + 1..last]));
    }
    (list, complaints)
}

/// Two lines for each entry.
pub(super) fn text(list: &[Acl]) -> String {
    list.iter().fold(String::new(), |mut text, acl| {
        let _ = writeln!(text, "'{},'{}\n: {}", acl.id.scheme, acl.id.id, perms::letters(acl.perms));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_is_kept() {
        let (list, complaints) = parse("world:anyone:rz,nonsense,digest:u:h=:cdrwa");
        assert_eq!(list, [Acl::world(1), Acl::new(31, "digest", "u:h=")]);
        assert_eq!(complaints, "Unknown perm type: z\nnonsense does not have the form scheme:id:perm\n");
        assert_eq!(parse("").1, " does not have the form scheme:id:perm\n");
        assert_eq!(text(&list[..1]), "'world,'anyone\n: r\n");
    }
}
