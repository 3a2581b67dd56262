//! One text for many rows, made once for a process: making it for each batch cost more than binding the rows.

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Postgres, Sqlite};
use tallygate_store::{Conn, ManyRows, Source, StoreError, Tx};

use super::cells::{Arrays, Cells, Column, Values};

/// An INSERT of rows with `columns`.
pub struct Statement {
    columns: Vec<Column>,
    postgres: String,
    sqlite: ManyRows,
}

impl Statement {
    /// Between `head` (`INSERT INTO t`) and `tail` (`ON CONFLICT ...`) stand the names of the columns and the rows.
    pub fn new(head: &str, columns: Vec<Column>, tail: &str) -> Self {
        let names = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let arrays: Vec<_> = columns.iter().zip(1..).map(|((_, kind), parameter)| kind.sql_of_array(parameter)).collect();
        Self {
            postgres: format!("{head} ({names}) SELECT {} {tail}", arrays.join(", ")),
            sqlite: ManyRows::new(columns.len(), |rows| format!("{head} ({names}) VALUES {rows} {tail}")),
            columns,
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
                let mut written = 0;
                for (text, rows) in self.sqlite.split(rows) {
                    let mut values = Values::for_cells(rows.len() * self.columns.len());
                    for row in rows {
                        put(row, &mut values);
                    }
                    let arguments = values.into_arguments()?;
                    let query: Query<'_, Sqlite, SqliteArguments> = sqlx::query_with(text, arguments);
                    written += query.execute(&mut *held).await?.rows_affected();
                }
                Ok(written)
            }
        }
    }
}
