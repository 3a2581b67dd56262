use super::handles::MAX_LABEL_VALUES;
use super::*;

fn finished<'a>(model: &'a ModelHandles, usage: &'a Usage) -> Finished<'a> {
    Finished {
        endpoint: "chat_completions",
        model,
        tenant: Some("acme"),
        provider: Some("openai"),
        stream: false,
        outcome: Outcome::Ok,
        duration: Duration::from_millis(20),
        first_token: None,
        overhead: Duration::from_micros(80),
        usage,
        usage_source: UsageSource::Provider,
        charge: Pico::new(3_600_000_000),
        currency: Some("USD"),
        arm: None,
        cache_saved: Pico::ZERO,
    }
}

#[test]
fn the_arms_of_a_split_stand_beside_each_other_and_savings_are_told() {
    let metrics = Metrics::new().unwrap();
    let usage = Usage::default().with(UsageClass::InputUncached, 100).with(UsageClass::OutputText, 20);
    let smart = metrics.model("smart");
    let of = |arm, outcome, saved| Finished {
        arm: Some(("beta", arm)),
        outcome,
        cache_saved: Pico::new(saved),
        ..finished(&smart, &usage)
    };
    metrics.finished(&of("a", Outcome::Ok, 2_000_000_000));
    metrics.finished(&of("a", Outcome::UpstreamError, -1_000_000_000));
    metrics.finished(&of("b", Outcome::ClientGone, 0));
    let page = metrics.render().unwrap();
    for line in [
        r#"tallygate_arm_requests_total{arm="a",rule="beta"} 2"#,
        r#"tallygate_arm_requests_total{arm="b",rule="beta"} 1"#,
        r#"tallygate_arm_errors_total{arm="a",rule="beta"} 1"#,
        r#"tallygate_arm_errors_total{arm="b",rule="beta"} 0"#,
        r#"tallygate_arm_request_duration_seconds_count{arm="a",rule="beta"} 2"#,
        r#"tallygate_arm_tokens_total{arm="a",kind="input",rule="beta"} 200"#,
        r#"tallygate_arm_tokens_total{arm="b",kind="output",rule="beta"} 20"#,
        r#"tallygate_arm_billed_amount_total{arm="a",currency="USD",rule="beta"} 0.0072"#,
        r#"tallygate_cache_saved_amount_total{currency="USD",model="smart"} 0.002"#,
        r#"tallygate_cache_extra_amount_total{currency="USD",model="smart"} 0.001"#,
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    }
}

fn series(metrics: &Metrics) -> usize {
    metrics.render().unwrap().lines().filter(|line| !line.starts_with('#')).count()
}

#[test]
fn a_finished_request_is_counted_under_its_configured_names() {
    let metrics = Metrics::new().unwrap();
    let usage = Usage::default().with(UsageClass::InputUncached, 1_200).with(UsageClass::OutputReasoning, 7);
    metrics.finished(&finished(&metrics.model("smart"), &usage));
    let page = metrics.render().unwrap();
    for line in [
        r#"tallygate_requests_total{endpoint="chat_completions",model="smart",outcome="ok",stream="false"} 1"#,
        r#"tallygate_tokens_total{kind="input",model="smart",provider="openai",source="provider"} 1200"#,
        r#"tallygate_tokens_total{kind="reasoning",model="smart",provider="openai",source="provider"} 7"#,
        r#"tallygate_billed_amount_total{currency="USD",model="smart"} 0.0036"#,
        r#"tallygate_tenant_tokens_total{tenant="acme"} 1207"#,
        r#"tallygate_request_duration_seconds_bucket{endpoint="chat_completions",model="smart",stream="false",le="0.04"} 1"#,
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
}

#[test]
fn unconfigured_models_and_endpoints_grow_no_series() {
    let metrics = Metrics::new().unwrap();
    let (none, other) = (Usage::default(), metrics.of_no_model());
    metrics.finished(&Finished { outcome: Outcome::ClientError, charge: Pico::ZERO, ..finished(&other, &none) });
    metrics.finished(&Finished {
        endpoint: "junk",
        outcome: Outcome::ClientError,
        charge: Pico::ZERO,
        ..finished(&other, &none)
    });
    let before = series(&metrics);
    for _ in 0..1_000 {
        metrics.finished(&Finished { outcome: Outcome::ClientError, charge: Pico::ZERO, ..finished(&other, &none) });
        metrics.finished(&Finished {
            endpoint: "junk",
            outcome: Outcome::ClientError,
            charge: Pico::ZERO,
            ..finished(&other, &none)
        });
    }
    assert_eq!(series(&metrics), before);
}

#[test]
fn beyond_the_cap_a_label_is_other() {
    let metrics = Metrics::new().unwrap();
    let (none, model) = (Usage::default(), metrics.model("m"));
    for number in 0..MAX_LABEL_VALUES + 50 {
        let name = format!("model-{number}");
        metrics.finished(&Finished { tenant: Some(&name), ..finished(&model, &none) });
    }
    let page = metrics.render().unwrap();
    assert_eq!(page.matches("tallygate_tenant_requests_total{").count(), MAX_LABEL_VALUES + 1);
    assert!(page.contains(r#"tallygate_tenant_requests_total{tenant="other"} 50"#));
}

#[test]
fn a_removed_model_takes_its_series_along() {
    let metrics = Metrics::new().unwrap();
    metrics.finished(&finished(&metrics.model("gone"), &Usage::default()));
    assert!(metrics.render().unwrap().contains(r#"requests_total{endpoint="chat_completions",model="gone""#));
    metrics.forget_model("gone");
    assert!(!metrics.render().unwrap().contains(r#"requests_total{endpoint="chat_completions",model="gone""#));
}

#[test]
fn what_is_present_is_counted_until_it_is_dropped() {
    let metrics = Metrics::new().unwrap();
    let one = metrics.serving("messages");
    assert!(metrics.render().unwrap().contains(r#"tallygate_requests_in_flight{endpoint="messages"} 1"#));
    drop(one);
    assert!(metrics.render().unwrap().contains(r#"tallygate_requests_in_flight{endpoint="messages"} 0"#));
}
