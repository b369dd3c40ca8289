//! What prepares data, at its edges: no leakage from later parts, what returns taken out, and errors that say why.

use recurrent::Error;
use recurrent::data::{SeasonalMean, Series, Split, StandardScaler, patches};

const PARTS: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

fn says(error: Error, expected: &str) {
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn what_is_asked_for_lies_in_its_own_part_and_every_place_of_it_is() {
    for (len, window, horizon) in [(100, 6, 2), (40, 1, 1), (101, 20, 7), (333, 60, 12)] {
        let series = Series::new((0..len).map(f64::from).collect(), window, horizon, [0.2, 0.2]).unwrap();
        let mut end = 0;
        for part in PARTS {
            let values = series.values(part);
            assert_eq!(values[0], f64::from(end), "parts follow each other");
            end += values.len() as u32;
            let origins = series.origins(part);
            for origin in origins.clone() {
                let (past, future) = (series.past(origin), series.future(origin));
                assert_eq!((past.len(), future.len()), (window, horizon));
                assert_eq!(past[window - 1] + 1.0, future[0], "what follows follows at once");
                assert!(future.iter().all(|x| values.contains(x)), "{part:?} asks for another part's");
            }
            let first = (end as usize - values.len()).max(window);
            assert_eq!(origins, first..end as usize + 1 - horizon, "{part:?} leaves out a place");
        }
        assert_eq!(end, len);
    }
}

#[test]
fn a_series_that_cannot_be_cut_says_why() {
    let series =
        |len: usize, window, horizon, shares| Series::new(vec![1.0; len], window, horizon, shares).unwrap_err();
    says(series(100, 0, 1, [0.2, 0.2]), "the window is 0");
    says(series(100, 1, 0, [0.2, 0.2]), "the horizon is 0");
    for shares in [[0.0, 0.2], [0.2, 0.0], [0.6, 0.4], [f64::NAN, 0.2]] {
        says(series(100, 1, 1, shares), "expected two numbers above 0");
    }
    says(series(100, 60, 1, [0.2, 0.2]), "the training part has 60");
    says(series(100, 1, 30, [0.2, 0.2]), "the validation part has 20");
    says(Series::new(vec![1.0, f32::NAN, 2.0], 1, 1, [0.3, 0.3]).unwrap_err(), "NaN");
}

#[test]
fn what_returns_is_taken_out_and_put_back() {
    let wave = |at: usize| 4.0 + 3.0 * (at as f64 * std::f64::consts::TAU / 12.0).sin();
    // 40 values are three whole periods and a rest.
    let values: Vec<f64> = (0..40).map(wave).collect();
    for harmonics in [1, 3, 6] {
        let seasonal = SeasonalMean::fit(&values, 12, harmonics).unwrap();
        assert_eq!(seasonal.period(), 12);
        let mut later: Vec<f64> = (100..130).map(wave).collect();
        seasonal.apply(&mut later, 100);
        assert!(later.iter().all(|x| x.abs() < 1e-12), "{later:?}");
        seasonal.inverse(&mut later, 100);
        assert!(later.iter().zip(100..).all(|(x, at)| (x - wave(at)).abs() < 1e-12));
    }
    // All harmonics are the mean of every phase, of an even and of an odd period.
    for period in [4, 5] {
        let values: Vec<f64> = (0..3 * period).map(|at| ((at * at * 7 + at) % 11) as f64).collect();
        let seasonal = SeasonalMean::fit(&values, period, period / 2).unwrap();
        for phase in 0..period {
            let mean = values.iter().skip(phase).step_by(period).sum::<f64>() / 3.0;
            assert!((seasonal.at(phase) - mean).abs() < 1e-12, "{period} {phase}: {}, not {mean}", seasonal.at(phase));
        }
    }
    says(SeasonalMean::fit(&values, 1, 1).unwrap_err(), "the period is 1");
    says(SeasonalMean::fit(&values, 12, 0).unwrap_err(), "0 harmonics of a period of 12, expected 1 to 6");
    says(SeasonalMean::fit(&values, 12, 7).unwrap_err(), "7 harmonics");
    says(SeasonalMean::fit(&values, 41, 1).unwrap_err(), "40 values are less than one period of 41");
    says(SeasonalMean::fit(&[f64::INFINITY; 4], 2, 1).unwrap_err(), "inf");
}

#[test]
fn values_past_the_digits_of_f32_keep_them_until_they_are_scaled() {
    // Seconds since 1970, of which f32 knows every 128th.
    let values: Vec<f64> = (0..100).map(|i| f64::from(1_600_000_000 + 3 * i + i % 2)).collect();
    let seasonal = SeasonalMean::fit(&values, 2, 1).unwrap();
    let mut rest = values.clone();
    seasonal.apply(&mut rest, 0);
    seasonal.inverse(&mut rest, 0);
    for kept in [&values, &rest] {
        let scaler = StandardScaler::fit(kept, 1).unwrap();
        let scaled = scaler.apply(kept).unwrap();
        let first = StandardScaler::fit(&(0..100).map(|i| f64::from(3 * i + i % 2)).collect::<Vec<_>>(), 1).unwrap();
        let expected = first.apply(&(0..100).map(|i| 3 * i + i % 2).collect::<Vec<i32>>()).unwrap();
        let off = scaled.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-6, "scaled values are off by {off}");
        let back = scaler.inverse(&scaled).unwrap();
        let off = back.iter().zip(&values).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off < 1e-4, "what is undone is off by {off}");
    }
}

#[test]
fn a_scaler_measures_all_that_f64_holds_or_says_that_it_cannot() {
    // The mean of ten times 0.1 is not 0.1: no deviation of 10⁻¹⁷ may come of it.
    let still = StandardScaler::fit(&[0.1; 10], 1).unwrap();
    assert_eq!(still.apply(&[0.1, 1.1]).unwrap(), [0.0, 1.0]);
    for scale in [1e-200, 1e200] {
        let scaler = StandardScaler::fit(&[scale, 3.0 * scale], 1).unwrap();
        assert_eq!(scaler.apply(&[4.0 * scale]).unwrap(), [2.0], "{scale}");
    }
    says(
        StandardScaler::fit(&[f64::MAX, 1.0, f64::MAX], 1).unwrap_err(),
        "feature 0, counted from 0, is too large to measure",
    );
    let scaler = StandardScaler::fit(&[1.0, 3.0], 1).unwrap();
    says(
        scaler.apply(&[2.0, 1e39]).unwrap_err(),
        "rows[1] is 1000000000000000000000000000000000000000, which scales to inf",
    );
    says(scaler.apply(&[f32::NAN]).unwrap_err(), "rows[0] is NaN");
    says(SeasonalMean::fit(&[f64::MAX; 4], 2, 1).unwrap_err(), "inf");
}

#[test]
fn scalers_and_patches_say_what_does_not_fit() {
    says(StandardScaler::fit::<f32>(&[], 2).unwrap_err(), "no rows");
    says(StandardScaler::fit(&[1.0; 3], 2).unwrap_err(), "3 numbers are no whole number of rows of 2");
    says(StandardScaler::fit(&[1.0], 0).unwrap_err(), "the number of features is 0");
    says(StandardScaler::fit(&[1.0, f32::NAN], 1).unwrap_err(), "NaN");
    let scaler = StandardScaler::fit(&[5.0, 1.0, 5.0, 3.0], 2).unwrap();
    let kept = serde_json::to_string(&scaler).unwrap();
    assert_eq!(serde_json::from_str::<StandardScaler>(&kept).unwrap(), scaler);
    for bad in
        [r#"{"means":[1,2],"deviations":[1]}"#, r#"{"means":[1],"deviations":[0]}"#, r#"{"means":[],"deviations":[]}"#]
    {
        let error = serde_json::from_str::<StandardScaler>(bad).unwrap_err().to_string();
        assert!(error.contains("expected as many of each"), "{bad}: {error}");
    }
    let error = serde_json::from_str::<SeasonalMean>(r#"{"phases":[]}"#).unwrap_err().to_string();
    assert!(error.contains("a season of 0 phases"), "{error}");
    assert_eq!(scaler.apply(&[7.0, 3.0]).unwrap(), [2.0, 1.0], "what never changes keeps its unit");
    says(scaler.inverse(&[1.0; 3]).unwrap_err(), "3 numbers");
    for (pixels, size, patch) in [(5, (2, 3), (1, 1)), (6, (2, 3), (0, 1)), (6, (2, 3), (2, 4)), (6, (2, 3), (1, 2))] {
        assert!(patches(&vec![0.0; pixels], size, patch).is_err(), "{pixels} {size:?} {patch:?}");
    }
}
