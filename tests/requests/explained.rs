//! Requests that tell how their tokens came to be: the same tokens as without, in company and alone; the tree of a beam
//! search; and what nobody may ask.

use tokenmill_core::explain::{BeamCandidate, Fate, Pick};
use tokenmill_core::{Event, Explanation, HasKind, Kind, Request, SamplingParams};

use crate::{engine, events, listen, request, tokens};

fn explained(mut request: Request, top: u32) -> Request {
    request.explain = Some(top);
    request
}

fn explanations(events: &[Event]) -> Vec<Explanation> {
    let events = events.iter().flat_map(|event| event.explained.clone());
    events.collect()
}

fn sampled(prompt: &[u32], temperature: f32) -> Request {
    let mut request = request(prompt, 9);
    let params = &mut request.params;
    (params.temperature, params.top_k, params.top_p) = (temperature, 20, 0.9);
    params.frequency_penalty = 0.5;
    request
}

#[test]
fn explaining_changes_no_token_in_any_company() {
    for temperature in [0.0, 0.9] {
        let (mut alone, door) = engine();
        let plain = events(&mut alone, &door, sampled(&[5, 6, 7], temperature));
        let (mut engine, door) = engine();
        let company = [
            sampled(&[5, 6, 7], temperature),
            explained(sampled(&[5, 6, 7], temperature), 4),
            explained(sampled(&[8, 9], 1.1), 50),
        ];
        let handles = company.map(|request| door.submit(request).expect("it fits"));
        let heard = listen(&mut engine, &handles);
        assert_eq!(tokens(&heard[0], 0), tokens(&plain, 0));
        assert_eq!(tokens(&heard[1], 0), tokens(&plain, 0));
        assert!(explanations(&heard[0]).is_empty());
        let told = explanations(&heard[1]);
        assert_eq!(told.len(), 9);
        for ((explanation, token), position) in told.iter().zip(tokens(&plain, 0)).zip(3..) {
            let (Pick::Greedy { token: picked, .. } | Pick::Race { token: picked, .. }) =
                &explanation.pick
            else {
                panic!("a draw or an argmax");
            };
            assert_eq!((*picked, explanation.position), (token, position));
            assert_eq!(explanation.stages[0].name, "logits");
            assert!(explanation.stages.iter().all(|stage| stage.best.len() <= 4));
        }
    }
}

#[test]
fn a_beam_search_tells_a_tree_whose_leaves_are_its_outputs() {
    let (mut engine, door) = engine();
    let mut asked = request(&[5, 6, 7], 6);
    asked.params.temperature = 0.0;
    asked.params.beams.width = Some(3);
    let plain = events(&mut engine, &door, asked.clone());
    let heard = events(&mut engine, &door, explained(asked, 2));
    assert_eq!(tokens(&heard, 0), tokens(&plain, 0));
    let steps: Vec<Vec<BeamCandidate>> = explanations(&heard)
        .into_iter()
        .map(|explanation| match explanation.pick {
            Pick::Beams(candidates) => candidates,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(steps.len(), 6);
    // Back from what ended along the parents: the best output is one of the paths.
    let mut paths = Vec::new();
    for last in steps[5].iter().filter(|one| one.fate == Fate::Ended) {
        let (mut path, mut beam) = (vec![last.token], last.parent);
        for step in steps[..5].iter().rev() {
            let kept: Vec<_> = step
                .iter()
                .filter(|one| one.fate == Fate::Kept(beam))
                .collect();
            assert_eq!(kept.len(), 1, "a beam has one candidate");
            path.push(kept[0].token);
            beam = kept[0].parent;
        }
        path.reverse();
        paths.push(path);
    }
    assert_eq!(paths.len(), 3);
    for output in 0..3 {
        assert!(paths.contains(&tokens(&heard, output)), "output {output}");
    }
}

#[test]
fn what_cannot_be_explained_is_refused_by_name_and_bound() {
    let (_engine, door) = engine();
    let with = |change: fn(&mut SamplingParams), top: u32| {
        let mut asked = request(&[5], 3);
        change(&mut asked.params);
        let error = door.submit(explained(asked, top)).expect_err("refused");
        (
            error.kind(),
            error.param().unwrap_or_default().to_owned(),
            error.to_string(),
        )
    };
    let same: fn(&mut SamplingParams) = |_| ();
    for (top, change, param, bound) in [
        (0, same, "top", "from 1 to 50, got 0"),
        (51, same, "top", "from 1 to 50, got 51"),
        (5, |params| params.n = 2, "n", "must be 1"),
        (5, |params| params.best_of = Some(2), "best_of", "must be 1"),
    ] as [(u32, fn(&mut SamplingParams), &str, &str); 4]
    {
        let (kind, named, message) = with(change, top);
        assert_eq!((kind, named.as_str()), (Kind::InvalidRequest, param));
        assert!(message.contains(bound), "{message}");
    }
}

#[test]
fn an_output_that_is_too_long_to_explain_is_refused() {
    let sched = tokenmill_sched::SchedConfig {
        blocks: 100,
        context_len: 400,
        ..crate::sched()
    };
    let (_engine, door) = tokenmill_engine::assemble(crate::parts(sched)).expect("an engine");
    let error = door
        .submit(explained(request(&[5], 257), 5))
        .expect_err("refused");
    assert_eq!(error.param(), Some("max_tokens"));
    assert!(error.to_string().contains("at most 256"), "{error}");
    door.submit(explained(request(&[5], 256), 5))
        .expect("it fits");
}
