//! Which cuts may be asked for together.

use super::*;

/// What may drop the best token.
fn dropping() -> [Pair; 5] {
    [
        pair("typical_p", float(0.9)),
        pair("xtc_probability", float(0.1)),
        pair("mirostat", int(1)),
        pair("mirostat", int(2)),
        pair("adaptive_target", float(0.3)),
    ]
}

/// What drops tokens but never the best.
fn cutting() -> [Pair; 7] {
    [
        pair("top_k", int(5)),
        pair("top_p", float(0.9)),
        pair("min_p", float(0.1)),
        pair("epsilon_cutoff", float(0.1)),
        pair("eta_cutoff", float(0.1)),
        pair("top_h", float(1.0)),
        pair("top_n_sigma", float(1.0)),
    ]
}

fn refused_together(one: Pair, other: Pair) -> Option<(String, String)> {
    match sampling(&[one, other]) {
        Ok(_) => None,
        Err(Error::Conflict { name, other, .. }) => Some((name, other)),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn greedy_is_refused_with_what_may_drop_the_best_token_and_with_nothing_else() {
    for option in dropping() {
        let names = refused_together(option.clone(), pair("temperature", int(0)));
        assert_eq!(names, Some((option.0, "temperature".into())));
    }
    let dynamic = pair("dynatemp_range", float(0.5));
    for option in cutting().into_iter().chain([dynamic]) {
        assert_eq!(refused_together(option, pair("temperature", int(0))), None);
    }
}

#[test]
fn a_cut_that_moves_by_itself_is_refused_with_every_other_cut() {
    for moving in [
        pair("mirostat", int(2)),
        pair("adaptive_target", float(0.3)),
    ] {
        let others = dropping().into_iter().chain(cutting());
        // A mild cut by share may stand before adaptive p (docs/adr/0020).
        let is_free = |option: &Pair| moving.0 == "adaptive_target" && option.0 == "min_p";
        for option in others.filter(|option| option.0 != moving.0) {
            if is_free(&option) {
                assert_eq!(refused_together(moving.clone(), option), None);
                continue;
            }
            let name = option.0.clone();
            let (first, second) = refused_together(moving.clone(), option).expect(&name);
            let mut names = [first.as_str(), second.as_str()];
            let mut expected = [moving.0.as_str(), name.as_str()];
            names.sort_unstable();
            expected.sort_unstable();
            assert_eq!(names, expected);
        }
        let temperature = pair("temperature", float(0.7));
        assert_eq!(refused_together(moving, temperature), None);
    }
}

#[test]
fn min_p_stands_before_adaptive_p_and_never_behind_it() {
    let listed = |names: &[&str]| {
        sampling(&[
            pair("adaptive_target", float(0.3)),
            pair("min_p", float(0.1)),
            pair("pipeline", steps(names)),
        ])
    };
    assert!(listed(&["min_p", "adaptive_p"]).is_ok());
    let error = listed(&["adaptive_p", "min_p"]).unwrap_err().to_string();
    assert_eq!(
        error,
        "pipeline and min_p: min_p must stand before adaptive_p"
    );
}
