//! One text for many rows, made once for a process: making it for each batch cost more than binding the rows.

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Postgres, Sqlite};
use tallygate_store::{Conn, Source, StoreError, Tx};

use super::cells::{Arrays, Cells, Column, Values};

/// Rows of one statement on SQLite. Statements of few sizes stay prepared, and 100 rows of 55 columns are far below the bounds of
/// the engine.
const STATEMENT_ROWS: [usize; 3] = [100, 10, 1];

/// An INSERT of rows with `columns`.
pub struct Statement {
    columns: &'static [Column],
    postgres: String,
    sqlite: [String; STATEMENT_ROWS.len()],
}

impl Statement {
    /// Between `head` (`INSERT INTO t`) and `tail` (`ON CONFLICT ...`) stand the names of the columns and the rows.
    pub fn new(head: &str, columns: &'static [Column], tail: &str) -> Self {
        let names = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let arrays: Vec<_> = columns.iter().zip(1..).map(|((_, kind), parameter)| kind.sql_of_array(parameter)).collect();
        // A numbered parameter is a name to SQLite, and each is looked for among all others when it is bound, which costs ten
        // times what the insertion does.
        let row = format!("({})", vec!["?"; columns.len()].join(", "));
        let rows = |count| vec![row.as_str(); count].join(", ");
        Self {
            columns,
            postgres: format!("{head} ({names}) SELECT {} {tail}", arrays.join(", ")),
            sqlite: STATEMENT_ROWS.map(|count| format!("{head} ({names}) VALUES {} {tail}", rows(count))),
        }
    }

    /// Writes `rows`, whose cells `put` tells; how many rows were inserted or changed.
    pub async fn run<'a, T: Sync + 'a>(
        &'static self,
        tx: &mut Tx,
        rows: &'a [T],
        put: impl Fn(&'a T, &mut dyn Cells<'a>) + Send + Sync,
    ) -> Result<u64, StoreError> {
        if rows.is_empty() {
            return Ok(0);
        }
        match Source::place(&mut *tx).connection().await? {
            Conn::Pg(mut held) => {
                let mut arrays = Arrays::of(self.columns.iter().map(|(_, kind)| *kind), rows.len());
                for row in rows {
                    put(row, &mut arrays);
                }
                let query: Query<'_, Postgres, _> = sqlx::query(self.postgres.as_str());
                Ok(arrays.bind(query).execute(&mut *held).await?.rows_affected())
            }
            Conn::Lite(mut held) => {
                let (mut written, mut rest) = (0, rows);
                while let Some(size) = STATEMENT_ROWS.iter().position(|count| rest.len() >= *count) {
                    let (now, later) = rest.split_at(STATEMENT_ROWS[size]);
                    rest = later;
                    let mut values = Values::for_cells(now.len() * self.columns.len());
                    for row in now {
                        put(row, &mut values);
                    }
                    let arguments = values.into_arguments()?;
                    let query: Query<'_, Sqlite, SqliteArguments> = sqlx::query_with(self.sqlite[size].as_str(), arguments);
                    written += query.execute(&mut *held).await?.rows_affected();
                }
                Ok(written)
            }
        }
    }
}
