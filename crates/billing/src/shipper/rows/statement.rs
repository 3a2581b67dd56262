//! One text for many rows, made once for a process: making it for each batch cost more than binding the rows.
//!
//! Rows are of kinds: what all rows of a kind have in common is bound once a statement on SQLite, which takes a parameter for
//! each value. On PostgreSQL, which takes an array a column, it is told for each row.

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Postgres, Sqlite};
use tallygate_store::{Conn, ManyRows, Source, StoreError, Tx};

use super::cells::{self, Arrays, Cells, Column, Values};

/// Kinds whose rows go together into a statement. The statement holds places for so many, and those not taken cost little.
const MAX_KINDS: usize = 10;
const ID_BYTES: usize = 16;

/// An INSERT of rows with columns of their own and those of their kinds.
pub struct Statement {
    own: Vec<Column>,
    common: Vec<Column>,
    postgres: String,
    /// For rows of one kind, and for those of several.
    of_one: ManyRows,
    of_many: ManyRows,
}

impl Statement {
    /// Between `head` (`INSERT INTO t`) and `tail` (`ON CONFLICT ...`) stand the names of the columns and the rows. A row of its
    /// own begins with its ids, of which none is missing.
    pub fn new(head: &str, own: Vec<Column>, common: Vec<Column>, tail: &str) -> Self {
        let names: Vec<_> = own.iter().chain(&common).map(|(name, _)| *name).collect();
        let arrays: Vec<_> = own.iter().chain(&common).zip(1..).map(|((_, kind), n)| kind.sql_of_array(n)).collect();
        let ids = own.iter().take_while(|(_, kind)| *kind == cells::Kind::Uuid).count();
        let (ids, rest) = own.split_at(ids);
        let cut = (0..ids.len()).map(|n| format!("substr(own.ids, {}, {ID_BYTES})", n * ID_BYTES + 1));
        let taken: Vec<_> = cut
            .chain(rest.iter().map(|(name, _)| format!("own.{name}")))
            .chain(common.iter().map(|(name, _)| format!("common.{name}")))
            .collect();
        let list = |columns: &[Column]| columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let places = vec!["?"; common.len()].join(", ");
        // The kinds come last, so that those a statement has no need of need not be bound.
        let sqlite = |rows: &str, kind: &str, kinds: &str, on: &str| {
            format!(
                "WITH own ({kind}ids, {}) AS (VALUES {rows}), common ({kind}{}) AS (VALUES {kinds})
                 {head} ({}) SELECT {} FROM own CROSS JOIN common{on} WHERE true {tail}",
                list(rest),
                list(&common),
                names.join(", "),
                taken.join(", "),
            )
        };
        let kinds = (0..MAX_KINDS).map(|kind| format!("({kind}, {places})")).collect::<Vec<_>>().join(", ");
        Self {
            postgres: format!("{head} ({}) SELECT {} {tail}", names.join(", "), arrays.join(", ")),
            of_one: ManyRows::new(rest.len() + 1, |rows| sqlite(rows, "", &format!("({places})"), "")),
            of_many: ManyRows::new(rest.len() + 2, |rows| sqlite(rows, "kind, ", &kinds, " ON common.kind = own.kind")),
            own,
            common,
        }
    }

    /// Writes `rows`, which stand in the order of their kinds, each after the place of its kind in `kinds`; how many rows were
    /// inserted or changed.
    pub async fn run<'a, K: Sync + 'a, R: Sync + 'a>(
        &'static self,
        tx: &mut Tx,
        kinds: &'a [K],
        rows: &'a [(usize, R)],
        put_common: impl Fn(&'a K, &mut dyn Cells<'a>) + Send + Sync,
        put_own: impl Fn(&'a R, &mut dyn Cells<'a>) + Send + Sync,
    ) -> Result<u64, StoreError> {
        if rows.is_empty() {
            return Ok(0);
        }
        match Source::place(&mut *tx).connection().await? {
            Conn::Pg(mut held) => {
                let columns = self.own.iter().chain(&self.common).map(|(_, kind)| *kind);
                let mut arrays = Arrays::of(columns, rows.len());
                for (kind, row) in rows {
                    put_own(row, &mut arrays);
                    put_common(&kinds[*kind], &mut arrays);
                }
                let query: Query<'_, Postgres, _> = sqlx::query(self.postgres.as_str());
                Ok(arrays.bind(query).execute(&mut *held).await?.rows_affected())
            }
            Conn::Lite(mut held) => {
                let mut written = 0;
                let are_of_one = count_kinds(rows) == 1;
                let texts = if are_of_one { &self.of_one } else { &self.of_many };
                for (text, rows) in texts.split_as(rows, |rows| are_of_one || count_kinds(rows) <= MAX_KINDS) {
                    let values = self.values(kinds, rows, are_of_one, &put_common, &put_own);
                    let query: Query<'_, Sqlite, SqliteArguments> = sqlx::query_with(text, values.into_arguments()?);
                    written += query.execute(&mut *held).await?.rows_affected();
                }
                Ok(written)
            }
        }
    }

    fn values<'a, K, R>(
        &self,
        kinds: &'a [K],
        rows: &'a [(usize, R)],
        are_of_one: bool,
        put_common: impl Fn(&'a K, &mut dyn Cells<'a>),
        put_own: impl Fn(&'a R, &mut dyn Cells<'a>),
    ) -> Values {
        let mut values = Values::for_cells(rows.len() * (self.own.len() + 1) + MAX_KINDS * self.common.len());
        let of_a_kind = || rows.chunk_by(|(one, _), (next, _)| one == next);
        for (place, rows) in of_a_kind().enumerate() {
            for (_, row) in rows {
                if !are_of_one {
                    values.int(place as i64);
                }
                put_own(row, &mut values);
            }
        }
        for rows in of_a_kind() {
            put_common(&kinds[rows[0].0], &mut values);
        }
        values
    }
}

fn count_kinds<R>(rows: &[(usize, R)]) -> usize {
    rows.chunk_by(|(one, _), (next, _)| one == next).count()
}
