//! Every loop of every shader is counted and ends, which is what the GPU executor promises wgpu in exchange for loops
//! that drivers can unroll.
//!
//! The contract: a loop is a `for` whose counter goes up to a bound or is halved down to 0, by a step that is above 0,
//! and whose body leaves the counter alone; anything else fails, whether it would end or not.

use recurrent::internals::gpu::kernels::all;

/// What a counter may be raised by, beside numbers: constants of a pipeline and what is made of them, none of which is
/// 0 (`a recurrence has no tile` is the error where one would be).
const STEPS: [&str; 9] = ["THREADS", "SPLIT", "UNITS", "DEPTH", "CHUNK", "GROUPS", "LANES", "TILE", "width"];

/// Returns how many loops there are; the error is the first that might not end.
fn count_loops(wgsl: &str) -> Result<usize, String> {
    let code: String = wgsl
        .lines()
        .map(|line| line.split("//").next().unwrap_or(""))
        .fold(String::new(), |all, line| all + line + "\n");
    let words: Vec<&str> = code.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
    if let Some(word) = words.iter().find(|word| ["while", "loop", "continuing"].contains(word)) {
        return Err(format!("a `{word}`"));
    }
    let heads: Vec<usize> = code.match_indices("for (").map(|(at, _)| at).collect();
    if heads.len() != words.iter().filter(|word| **word == "for").count() {
        return Err("a `for` that is written in another way".to_owned());
    }
    heads.iter().try_for_each(|at| check_loop(&code[*at + "for (".len()..]))?;
    Ok(heads.len())
}

/// Checks the loop whose head starts here, behind its parenthesis.
fn check_loop(code: &str) -> Result<(), String> {
    let open = code.find('{').ok_or("a loop without a body")?;
    let head = code[..open].trim_end().strip_suffix(')').ok_or("a loop without a head")?;
    let fails = |why: &str| Err(format!("for ({head}): {why}"));
    let &[_, condition, update] = head.split(';').map(str::trim).collect::<Vec<_>>().as_slice() else {
        return fails("expected three parts");
    };
    let words: Vec<&str> = update.split_whitespace().collect();
    let (counter, rises) = match words.as_slice() {
        [counter, "+=", step @ ..] if !step.is_empty() => {
            let is_factor = |word: &str| {
                let number = word.trim_end_matches('u').parse::<u32>();
                word == "*" || STEPS.contains(&word) || number.is_ok_and(|number| number > 0)
            };
            if !step.iter().all(|word| is_factor(word)) {
                return fails("a step that might be 0");
            }
            (*counter, true)
        }
        [counter, "/=", "2u"] => (*counter, false),
        _ => return fails("expected a counter that is raised, or halved"),
    };
    let bounded = match rises {
        // What is compared starts with the counter: `k < end`, `k + DEPTH <= end`.
        true => {
            condition.starts_with(&format!("{counter} ")) && (condition.contains(" < ") || condition.contains(" <= "))
        }
        false => condition == format!("{counter} > 0u"),
    };
    if !bounded {
        return fails("expected a bound on the counter");
    }
    let mut depth = 0;
    let end = code[open..].char_indices().find(|(_, c)| {
        depth += i32::from(*c == '{') - i32::from(*c == '}');
        depth == 0
    });
    let body = &code[open..end.map_or(code.len(), |(at, _)| open + at)];
    let assigns = |body: &str| {
        body.match_indices(counter).any(|(at, _)| {
            let is_word = !body[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.');
            let rest = body[at + counter.len()..].trim_start();
            let operator = rest.trim_start_matches(['+', '-', '*', '/', '%']);
            is_word && operator.starts_with('=') && !operator.starts_with("==")
        })
    };
    if assigns(body) { fails("its body changes the counter") } else { Ok(()) }
}

#[test]
fn every_loop_is_counted() {
    let mut loops = 0;
    for kernel in all() {
        loops += count_loops(&kernel.wgsl(&[])).unwrap_or_else(|why| panic!("{}: {why}", kernel.name));
    }
    assert!(loops > 50, "{loops} loops");
}

#[test]
fn a_loop_that_might_not_end_is_seen() {
    let good = "for (var i = 0u; i < n; i += THREADS) { a += b[i]; for (; k + DEPTH <= end; k += DEPTH) { c += k; } }";
    assert_eq!(count_loops(good), Ok(2));
    assert_eq!(count_loops("for (var w = THREADS / 2u; w > 0u; w /= 2u) { x[w] += 1u; }"), Ok(1));
    for bad in [
        "loop { break; }",
        "while i < n { i += 1u; }",
        "for(var i = 0u; i < n; i += 1u) {}",
        "for (var i = 0u; i < n; ) {}",
        "for (var i = 0u; ; i += 1u) {}",
        "for (var i = 0u; j < n; i += 1u) {}",
        "for (var i = 0u; i != n; i += 1u) {}",
        "for (var i = 0u; i < n; i += 0u) {}",
        "for (var i = 0u; i < n; i += n) {}",
        "for (var i = 0u; i < n; i -= 1u) {}",
        "for (var i = n; i > 0u; i /= 1u) {}",
        "for (var i = n; i >= 0u; i /= 2u) {}",
        "for (var i = 0u; i < n; i += 1u) { i = 0u; }",
        "for (var i = 0u; i < n; i += 1u) { if a { i -= 1u; } }",
    ] {
        assert!(count_loops(bad).is_err(), "{bad}");
    }
}
