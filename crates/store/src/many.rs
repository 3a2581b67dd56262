//! A statement for many rows on SQLite, which takes a parameter for each value.

/// Rows of one statement. Statements of few sizes stay prepared, and 100 rows of 55 columns are far below the bounds of the
/// engine.
const SIZES: [usize; 3] = [100, 10, 1];

/// One statement in the texts of all sizes.
#[derive(Debug)]
pub struct ManyRows([String; SIZES.len()]);

impl ManyRows {
    /// `text` is given the rows' parameters: of two columns and two rows `(?, ?), (?, ?)`.
    ///
    /// A numbered parameter is a name to SQLite, and each is looked for among all others when it is bound, which costs ten
    /// times what an insertion does.
    pub fn new(columns: usize, text: impl Fn(&str) -> String) -> Self {
        let row = format!("({})", vec!["?"; columns].join(", "));
        Self(SIZES.map(|count| text(&vec![row.as_str(); count].join(", "))))
    }

    /// The statements that `rows` take, each with its own.
    pub fn split<'s, 'r, T>(&'s self, rows: &'r [T]) -> impl Iterator<Item = (&'s str, &'r [T])> + use<'s, 'r, T> {
        self.split_as(rows, |_| true)
    }

    /// [`Self::split`], where some rows do not go together into a statement; each goes alone.
    pub fn split_as<'s, 'r, T, F: Fn(&[T]) -> bool>(
        &'s self,
        rows: &'r [T],
        go_together: F,
    ) -> impl Iterator<Item = (&'s str, &'r [T])> + use<'s, 'r, T, F> {
        let mut rest = rows;
        std::iter::from_fn(move || {
            let fits = |count: &usize| rest.get(..*count).is_some_and(|now| *count == 1 || go_together(now));
            let size = SIZES.iter().position(fits)?;
            let now = rest.split_off(..SIZES[size])?;
            Some((self.0[size].as_str(), now))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_split_into_as_few_statements_as_there_are_sizes_for() {
        let many = ManyRows::new(2, |rows| format!("VALUES {rows}"));
        let rows: Vec<_> = (0..212).collect();
        let split: Vec<_> = many.split(&rows).collect();
        assert_eq!(split.iter().map(|(_, rows)| rows.len()).collect::<Vec<_>>(), [100, 100, 10, 1, 1]);
        assert_eq!(split.iter().flat_map(|(_, rows)| *rows).copied().collect::<Vec<_>>(), rows);
        assert_eq!(split[4].0, "VALUES (?, ?)");
        assert_eq!(split[0].0.matches("(?, ?)").count(), 100);
        assert_eq!(many.split(&rows[..0]).count(), 0);
        let of_one_ten = |rows: &[i32]| rows.iter().all(|row| row / 10 == rows[0] / 10);
        let split: Vec<_> = many.split_as(&rows[..31], of_one_ten).map(|(_, rows)| rows.len()).collect();
        assert_eq!(split, [10, 10, 10, 1]);
        assert_eq!(many.split_as(&rows[5..16], of_one_ten).count(), 11);
        assert_eq!(many.split_as(&rows[..3], |_| false).count(), 3);
    }
}
