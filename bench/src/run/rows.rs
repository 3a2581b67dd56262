//! What is measured, and what it must come to: the budgets for speed.

use super::subjects::Name;
use super::{Figures, Measured};
use crate::load::Way;
use crate::traffic::{Kind, Prompt};

/// A load that is put on each subject in turn.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    pub id: &'static str,
    pub title: &'static str,
    pub way: Way,
    pub kind: Kind,
    pub prompt: Prompt,
    pub is_translated: bool,
    pub connections: usize,
    /// Requests per second of an open loop.
    pub rate: u64,
    /// Only gateways that tell tenants apart do it.
    pub is_of_tenants: bool,
    /// Requests per second of a tenant beside, which may send a tenth of that.
    pub beside: Option<u64>,
    pub warm_up_ms: u64,
    pub window_ms: u64,
}

const SMALL: Work = Work {
    id: "small",
    title: "small request, same dialect, saturated",
    way: Way::Closed,
    kind: Kind::Json,
    prompt: Prompt::Small,
    is_translated: false,
    connections: 64,
    rate: 0,
    is_of_tenants: false,
    beside: None,
    warm_up_ms: 1000,
    window_ms: 2000,
};
/// Long enough for a 99th percentile; before it the tenant beside has used up its minute.
const ALONE: Work = Work {
    id: "alone",
    title: "small request, 500/s, of tenants alone",
    way: Way::Open,
    connections: 32,
    rate: 500,
    is_of_tenants: true,
    warm_up_ms: 8000,
    window_ms: 20_000,
    ..SMALL
};
const PACED: Work = Work {
    id: "paced",
    title: "same-dialect stream, 10,000 pieces/s",
    way: Way::Streams,
    kind: Kind::Paced,
    connections: 200,
    warm_up_ms: 2000,
    window_ms: 4000,
    ..SMALL
};

pub const WORKS: [Work; 11] = [
    SMALL,
    Work { id: "small-500", title: "small request, 500/s", way: Way::Open, connections: 32, rate: 500, window_ms: 4000, ..SMALL },
    Work {
        id: "small-2000",
        title: "small request, 2,000/s",
        way: Way::Open,
        connections: 32,
        rate: 2000,
        window_ms: 4000,
        ..SMALL
    },
    PACED,
    Work {
        id: "flat",
        title: "same-dialect stream, flat out (200,000 pieces/s offered)",
        way: Way::Streams,
        kind: Kind::Flat,
        connections: 200,
        window_ms: 3000,
        ..SMALL
    },
    Work { id: "translated", title: "OpenAI to Anthropic, plain", is_translated: true, ..SMALL },
    Work { id: "translated-paced", title: "OpenAI to Anthropic, stream, 10,000 pieces/s", is_translated: true, ..PACED },
    Work { id: "text", title: "200 kB of text, same dialect", prompt: Prompt::Text, connections: 16, ..SMALL },
    Work { id: "image", title: "1 MB image, same dialect", prompt: Prompt::Image, connections: 8, ..SMALL },
    ALONE,
    Work { id: "beside", title: "the same beside a tenant at ten times its limit, 1,000/s", beside: Some(1000), ..ALONE },
];

/// A budget. Ratios are to nginx in the same run unless said otherwise.
pub struct Row {
    pub title: &'static str,
    pub unit: &'static str,
    /// May not be missed.
    pub bar: f64,
    pub goal: f64,
    pub best: Best,
    value: fn(&Figures, Name) -> Option<f64>,
    /// What a subject's value is divided by to be compared; nothing: it is compared as it is.
    base: Option<fn(&Figures, Name) -> Option<f64>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Best {
    Low,
    High,
}

pub const ROWS: [Row; 15] = [
    Row {
        title: "small request, saturated: CPU",
        unit: "µs",
        bar: 2.2,
        goal: 1.6,
        value: |f, n| f.cpu("small", n),
        base: Some(|f, _| f.cpu("small", Name::Nginx)),
        ..ROW
    },
    Row {
        title: "small request, 500/s: added p50",
        unit: "µs",
        bar: 1.5,
        goal: 1.2,
        value: |f, n| f.added("small-500", n),
        base: Some(|f, _| f.added("small-500", Name::Nginx)),
        ..ROW
    },
    Row {
        title: "small request, 2,000/s: added p50",
        unit: "µs",
        bar: 1.5,
        goal: 1.2,
        value: |f, n| f.added("small-2000", n),
        base: Some(|f, _| f.added("small-2000", Name::Nginx)),
        ..ROW
    },
    Row {
        title: "small request, 2,000/s: CPU",
        unit: "µs",
        bar: 1.4,
        goal: 1.15,
        value: |f, n| f.cpu("small-2000", n),
        base: Some(|f, _| f.cpu("small-2000", Name::Nginx)),
        ..ROW
    },
    Row {
        title: "stream, 10,000 pieces/s: CPU per piece",
        unit: "µs",
        bar: 1.5,
        goal: 1.25,
        value: |f, n| f.cpu("paced", n),
        base: Some(|f, _| f.cpu("paced", Name::Nginx)),
        ..ROW
    },
    Row {
        title: "stream, flat out: pieces/s",
        unit: "1/s",
        bar: 0.5,
        goal: 0.9,
        best: Best::High,
        value: |f, n| f.median("flat", n, |m| m.outcome.pieces_per_second),
        base: Some(|f, _| f.median("flat", Name::Nginx, |m| m.outcome.pieces_per_second)),
    },
    Row {
        title: "time to first text, 200 streams: p50",
        unit: "µs",
        bar: 1.5,
        goal: 1.1,
        value: |f, n| f.first_text(n),
        base: Some(|f, _| f.first_text(Name::Nginx)),
        ..ROW
    },
    Row {
        title: "translated, plain, against nginx's small request: CPU",
        unit: "µs",
        bar: 3.0,
        goal: 2.2,
        value: |f, n| f.cpu("translated", n),
        base: Some(|f, _| f.cpu("small", Name::Nginx)),
        ..ROW
    },
    Row {
        title: "translated stream, against nginx's stream: CPU per piece",
        unit: "µs",
        bar: 1.7,
        goal: 1.4,
        value: |f, n| f.cpu("translated-paced", n),
        base: Some(|f, _| f.cpu("paced", Name::Nginx)),
        ..ROW
    },
    Row {
        title: "200 kB body: CPU",
        unit: "µs",
        bar: 1.5,
        goal: 1.1,
        value: |f, n| f.cpu("text", n),
        base: Some(|f, _| f.cpu("text", Name::Nginx)),
        ..ROW
    },
    Row {
        title: "1 MB body: CPU",
        unit: "µs",
        bar: 1.2,
        goal: 0.7,
        value: |f, n| f.cpu("image", n),
        base: Some(|f, _| f.cpu("image", Name::Nginx)),
        ..ROW
    },
    Row {
        title: "p99 beside a tenant at ten times its limit, against alone",
        unit: "µs",
        bar: 1.1,
        goal: 1.05,
        value: |f, n| f.p99("beside", n),
        base: Some(|f, n| f.p99("alone", n)),
        ..ROW
    },
    Row {
        title: "idle memory, 10,000 tenants",
        unit: "MB",
        bar: 40.0,
        goal: 25.0,
        value: |f, n| Some(f.footprints.get(&n)?.idle_mb),
        ..ROW
    },
    Row {
        title: "memory with 1,000 open streams",
        unit: "MB",
        bar: 110.0,
        goal: 65.0,
        value: |f, n| Some(f.footprints.get(&n)?.with_streams_mb),
        ..ROW
    },
    Row {
        title: "start to first answer",
        unit: "ms",
        bar: 500.0,
        goal: 150.0,
        value: |f, n| Some(f.footprints.get(&n)?.start_ms).filter(|ms| *ms > 0.0),
        ..ROW
    },
];

/// What most rows have in common.
const ROW: Row = Row { title: "", unit: "", bar: 0.0, goal: 0.0, best: Best::Low, value: |_, _| None, base: None };

/// What a row came to.
pub struct Judgement {
    pub row: &'static Row,
    /// Of each subject, in the row's unit.
    pub values: Vec<(Name, f64)>,
    /// Of Tallygate, as it is compared.
    pub compared: Vec<(Name, f64)>,
    /// On every database.
    pub is_above_bar: bool,
    pub is_at_goal: bool,
}

impl Row {
    /// Nothing if a figure is missing because not everything was run.
    pub fn judge(&'static self, figures: &Figures) -> Option<Judgement> {
        let all = [Name::Direct, Name::Nginx, Name::Hyper, Name::Sqlite, Name::Postgres];
        let values: Vec<(Name, f64)> = all.into_iter().filter_map(|name| Some((name, (self.value)(figures, name)?))).collect();
        let base = |name| self.base.map_or(Some(1.0), |base| base(figures, name));
        let of_tallygate = values.iter().filter(|(name, _)| name.is_tallygate());
        let compared: Vec<(Name, f64)> =
            of_tallygate.map(|(name, value)| Some((*name, value / base(*name)?))).collect::<Option<_>>()?;
        let meets =
            |limit: f64| compared.iter().all(|(_, ratio)| if self.best == Best::Low { *ratio <= limit } else { *ratio >= limit });
        let (is_above_bar, is_at_goal) = (meets(self.bar), meets(self.goal));
        (!compared.is_empty()).then_some(Judgement { row: self, values, compared, is_above_bar, is_at_goal })
    }

    pub const fn is_ratio(&self) -> bool {
        self.base.is_some()
    }
}

impl Figures {
    /// The median over the rounds.
    pub fn median(&self, work: &str, name: Name, figure: impl Fn(&Measured) -> f64) -> Option<f64> {
        let (_, rounds) = self.rounds.iter().find(|((id, subject), _)| *id == work && *subject == name)?;
        Some(median(rounds.iter().map(figure).collect()))
    }

    fn cpu(&self, work: &str, name: Name) -> Option<f64> {
        if name == Name::Direct {
            return None;
        }
        self.median(work, name, |measured| measured.cpu_us)
    }

    /// What the way through the subject adds to the latency.
    fn added(&self, work: &str, name: Name) -> Option<f64> {
        let p50 = |name| self.median(work, name, |measured| measured.outcome.latency.p50);
        Some(p50(name)? - p50(Name::Direct)?)
    }

    fn p99(&self, work: &str, name: Name) -> Option<f64> {
        self.median(work, name, |measured| measured.outcome.latency.p99)
    }

    fn first_text(&self, name: Name) -> Option<f64> {
        self.median("paced", name, |measured| measured.outcome.first_text.p50)
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}
