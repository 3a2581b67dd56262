//! The cells of many rows, in the form in which each engine takes them fastest: on SQLite one value after another, on
//! PostgreSQL an array a column, so that the statement is the same for any number of rows.

use std::borrow::Cow;
use std::sync::Arc;

use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, Encode, Postgres, Sqlite, Type};
use tallygate_store::DbTime;
use tallygate_types::{Timestamp, Usage, UsageClass};
use uuid::Uuid;

use crate::sql::{clean, int};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Uuid,
    Int,
    Flag,
    Time,
    Text,
    /// Written as text.
    Json,
}

impl Kind {
    /// The column's value in the row that is being made from the arrays of all rows.
    pub fn sql_of_array(self, parameter: usize) -> String {
        match self {
            Self::Uuid => format!("unnest(${parameter}::uuid[])"),
            Self::Int => format!("unnest(${parameter}::bigint[])"),
            Self::Flag => format!("unnest(${parameter}::boolean[])"),
            Self::Time => format!("unnest(${parameter}::timestamptz[])"),
            Self::Text => format!("unnest(${parameter}::text[])"),
            Self::Json => format!("unnest(${parameter}::text[])::jsonb"),
        }
    }
}

/// How much there is to say of a row: a value costs as much to bind as a column of a row to insert, and most rows need few.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Plain,
    /// And what many rows have.
    More,
    /// And what hardly any has.
    All,
}

impl Level {
    pub const ALL: [Self; 3] = [Self::Plain, Self::More, Self::All];

    /// What it takes to say all of `usage`.
    pub fn of(usage: &Usage) -> Self {
        let has = |classes: &[UsageClass]| classes.iter().any(|class| usage.get(*class) > 0);
        match (has(&RARE_CLASSES), has(&MORE_CLASSES)) {
            (true, _) => Self::All,
            (false, true) => Self::More,
            (false, false) => Self::Plain,
        }
    }
}

pub const PLAIN_CLASSES: [UsageClass; 2] = [UsageClass::InputUncached, UsageClass::OutputText];
pub const MORE_CLASSES: [UsageClass; 3] =
    [UsageClass::InputCacheRead, UsageClass::InputCacheWrite5m, UsageClass::OutputReasoning];
pub const RARE_CLASSES: [UsageClass; UsageClass::ALL.len() - PLAIN_CLASSES.len() - MORE_CLASSES.len()] = [
    UsageClass::InputCacheWrite1h,
    UsageClass::InputAudio,
    UsageClass::InputAudioCached,
    UsageClass::InputImage,
    UsageClass::InputVideo,
    UsageClass::OutputAudio,
    UsageClass::OutputImage,
];

/// A column's name, and what it holds.
pub type Column = (&'static str, Kind);

/// `own`, and behind them a column for each of `classes`, which [`put_usage`] fills.
pub const fn with_usage<const OWN: usize, const ALL: usize>(own: [Column; OWN], classes: &[UsageClass]) -> [Column; ALL] {
    assert!(ALL == OWN + classes.len(), "a column for each class");
    let mut all = [("", Kind::Int); ALL];
    let mut at = 0;
    while at < ALL {
        all[at] = if at < OWN { own[at] } else { (classes[at - OWN].as_str(), Kind::Int) };
        at += 1;
    }
    all
}

/// See [`with_usage`].
pub fn put_usage(usage: &Usage, classes: &[UsageClass], cells: &mut dyn Cells<'_>) {
    for class in classes {
        cells.int(int(usage.get(*class)));
    }
}

/// Takes the cells of a row in the order of its columns, row after row.
pub trait Cells<'a> {
    /// All the ids with which a row begins.
    fn ids(&mut self, ids: &[Uuid]);
    fn uuid(&mut self, value: Option<Uuid>);
    fn int(&mut self, value: i64);
    fn flag(&mut self, value: bool);
    fn time(&mut self, value: Option<Timestamp>);
    /// Without what the databases do not take.
    fn text(&mut self, value: Option<&'a str>);
    /// A text that is shared.
    fn name(&mut self, value: Option<&'a Arc<str>>);
}

/// For SQLite.
#[derive(Default)]
pub struct Values {
    arguments: SqliteArguments,
    failure: Option<BoxDynError>,
}

impl Values {
    pub fn for_cells(count: usize) -> Self {
        let mut values = Self::default();
        values.arguments.reserve(count, 0);
        values
    }

    pub fn into_arguments(self) -> Result<SqliteArguments, sqlx::Error> {
        self.failure.map_or(Ok(self.arguments), |failure| Err(sqlx::Error::Encode(failure)))
    }

    fn add<'a>(&mut self, value: impl Encode<'a, Sqlite> + Type<Sqlite>) {
        if let Err(failure) = self.arguments.add(value) {
            self.failure = Some(failure);
        }
    }
}

impl<'a> Cells<'a> for Values {
    /// One blob, which the statement cuts apart.
    fn ids(&mut self, ids: &[Uuid]) {
        let mut bytes = Vec::with_capacity(size_of_val(ids));
        for id in ids {
            bytes.extend_from_slice(id.as_bytes());
        }
        self.add(bytes);
    }

    fn uuid(&mut self, value: Option<Uuid>) {
        self.add(value);
    }

    fn int(&mut self, value: i64) {
        self.add(value);
    }

    fn flag(&mut self, value: bool) {
        self.add(value);
    }

    fn time(&mut self, value: Option<Timestamp>) {
        self.add(value.map(DbTime));
    }

    fn text(&mut self, value: Option<&'a str>) {
        // Shared text takes one allocation, and two in any other way.
        self.add(value.map(|text| Arc::<str>::from(clean(text))));
    }

    fn name(&mut self, value: Option<&'a Arc<str>>) {
        match value.map(|name| (name, clean(name))) {
            // The one allocation that all share.
            Some((name, Cow::Borrowed(_))) => self.add(Arc::clone(name)),
            other => self.add(other.map(|(_, cleaned)| cleaned)),
        }
    }
}

/// For PostgreSQL.
pub struct Arrays<'a> {
    columns: Vec<Array<'a>>,
    /// The column of the next cell.
    at: usize,
}

enum Array<'a> {
    Uuids(Vec<Option<Uuid>>),
    Ints(Vec<i64>),
    Flags(Vec<bool>),
    Times(Vec<Option<DbTime>>),
    Texts(Vec<Option<Cow<'a, str>>>),
}

impl<'a> Arrays<'a> {
    pub fn of(kinds: impl IntoIterator<Item = Kind>, rows: usize) -> Self {
        let array = |kind| match kind {
            Kind::Uuid => Array::Uuids(Vec::with_capacity(rows)),
            Kind::Int => Array::Ints(Vec::with_capacity(rows)),
            Kind::Flag => Array::Flags(Vec::with_capacity(rows)),
            Kind::Time => Array::Times(Vec::with_capacity(rows)),
            Kind::Text | Kind::Json => Array::Texts(Vec::with_capacity(rows)),
        };
        Self { columns: kinds.into_iter().map(array).collect(), at: 0 }
    }

    pub fn bind<'q>(self, query: Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments>
    where
        'a: 'q,
    {
        self.columns.into_iter().fold(query, |query, column| match column {
            Array::Uuids(values) => query.bind(values),
            Array::Ints(values) => query.bind(values),
            Array::Flags(values) => query.bind(values),
            Array::Times(values) => query.bind(values),
            Array::Texts(values) => query.bind(values),
        })
    }

    fn next(&mut self) -> &mut Array<'a> {
        let at = self.at;
        self.at = (at + 1) % self.columns.len();
        &mut self.columns[at]
    }
}

macro_rules! push {
    ($arrays:expr, $kind:ident, $value:expr) => {
        match $arrays.next() {
            Array::$kind(values) => values.push($value),
            _ => unreachable!("a cell of another kind than its column"),
        }
    };
}

impl<'a> Cells<'a> for Arrays<'a> {
    fn ids(&mut self, ids: &[Uuid]) {
        for id in ids {
            self.uuid(Some(*id));
        }
    }

    fn uuid(&mut self, value: Option<Uuid>) {
        push!(self, Uuids, value);
    }

    fn int(&mut self, value: i64) {
        push!(self, Ints, value);
    }

    fn flag(&mut self, value: bool) {
        push!(self, Flags, value);
    }

    fn time(&mut self, value: Option<Timestamp>) {
        push!(self, Times, value.map(DbTime));
    }

    fn text(&mut self, value: Option<&'a str>) {
        push!(self, Texts, value.map(clean));
    }

    fn name(&mut self, value: Option<&'a Arc<str>>) {
        self.text(value.map(AsRef::as_ref));
    }
}
