//! A look at a Lark grammar before it is parsed: how deep its brackets nest. Texts, patterns and comments are passed
//! over; what a pattern nests is bounded where patterns are parsed.

use super::source::{Made, SourceLimits};

pub(super) fn check_depth(text: &str, limits: &SourceLimits) -> Made<()> {
    let depth_max = limits.depth_max;
    let mut depth = 0_usize;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let closer = match letter {
            '#' => Some('\n'),
            '/' if letters.peek() == Some(&'/') => Some('\n'),
            '/' | '"' => Some(letter),
            _ => None,
        };
        if let Some(closer) = closer {
            while let Some(inner) = letters.next() {
                if inner == closer {
                    break;
                }
                if inner == '\\' && closer != '\n' {
                    letters.next();
                }
            }
            continue;
        }
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > depth_max {
            return Err(format!("nests brackets more than {depth_max} deep"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::source::SourceLimits;
    use super::check_depth;

    #[test]
    fn brackets_count_where_they_group() {
        let limits = SourceLimits {
            depth_max: 2,
            properties_max: 1,
        };
        for text in [
            "start: ((a))",
            "start: \"((((\" \"\\\"(((\" /((((\\/(((/ // ((((\n# ((((\n(a)",
            "a: (b) (c) (d) [e] {f}",
        ] {
            assert_eq!(check_depth(text, &limits), Ok(()), "{text}");
        }
        for text in ["(((", "start: ([{a}])", "\"\" ((("] {
            assert!(check_depth(text, &limits).is_err(), "{text}");
        }
    }
}
