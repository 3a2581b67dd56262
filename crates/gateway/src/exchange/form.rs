//! Header maps in which the names stand already. A map hashes each name that is put into it; of an answer's fifteen that takes
//! more instructions than to read a small request.

use http::{HeaderMap, HeaderName, HeaderValue};

/// See the module.
pub struct Form(HeaderMap);

impl Form {
    pub fn new<'a>(names: impl IntoIterator<Item = &'a HeaderName>) -> Self {
        Self(names.into_iter().map(|name| (name.clone(), HeaderValue::from_static(""))).collect())
    }

    /// The values in the order of the names; what has none, or an empty one, is left out.
    pub fn fill(&self, values: impl IntoIterator<Item = Option<HeaderValue>>) -> HeaderMap {
        let mut headers = self.0.clone();
        let mut is_whole = true;
        // As long as nothing was taken out of a map its names stand in the order in which they came.
        for (place, value) in headers.values_mut().zip(values) {
            match value {
                Some(value) => *place = value,
                None => is_whole = false,
            }
        }
        if !is_whole {
            let unsaid: Vec<_> = headers.iter().filter(|(_, value)| value.is_empty()).map(|(name, _)| name.clone()).collect();
            for name in unsaid {
                headers.remove(name);
            }
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 20] = [
        "x-a",
        "content-type",
        "x-b",
        "x-c",
        "x-d",
        "x-e",
        "request-id",
        "x-f",
        "x-g",
        "x-h",
        "date",
        "x-i",
        "x-j",
        "x-k",
        "x-l",
        "x-m",
        "x-n",
        "x-o",
        "x-p",
        "x-q",
    ];

    fn filled(is_said: impl Fn(usize) -> bool) -> Vec<(String, String)> {
        let names = NAMES.map(HeaderName::from_static);
        let value = |at: usize| is_said(at).then(|| HeaderValue::from_static(NAMES[at]));
        let headers = Form::new(&names).fill((0..NAMES.len()).map(value));
        let mut told: Vec<_> =
            headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        told.sort();
        told
    }

    #[test]
    fn each_name_has_the_value_that_stands_at_its_place() {
        for left_out in [None, Some(0), Some(1), Some(9), Some(19)] {
            let mut expected: Vec<_> =
                (0..NAMES.len()).filter(|at| Some(*at) != left_out).map(|at| NAMES[at].to_owned()).collect();
            expected.sort();
            let expected: Vec<_> = expected.into_iter().map(|name| (name.clone(), name)).collect();
            assert_eq!(filled(|at| Some(at) != left_out), expected, "without {left_out:?}");
        }
        assert_eq!(filled(|_| false), []);
    }
}
