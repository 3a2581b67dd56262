use std::fmt::Write as _;

use super::*;

fn subset(schema: &Value) -> (Value, Vec<String>) {
    let compiled = compile(schema, Target::OpenApi);
    (compiled.schema, compiled.notes)
}

fn plain(schema: &Value) -> (Value, Vec<String>) {
    let compiled = compile(schema, Target::JsonSchema);
    (compiled.schema, compiled.notes)
}

#[test]
fn names_of_properties_are_data_in_both_languages() {
    let schema = json!({
        "$schema": "x", "type": "object", "required": ["title", "$ref"],
        "properties": {"title": {"type": "string"}, "format": {"type": ["integer", "null"]}, "$ref": {"type": "array", "items": {"type": "number"}}}
    });
    let mut expected = schema.clone();
    expected.as_object_mut().unwrap().shift_remove("$schema");
    assert_eq!(plain(&schema), (expected, vec![]));
    assert_eq!(
        subset(&schema),
        (
            json!({
                "type": "OBJECT", "required": ["title", "$ref"],
                "properties": {"title": {"type": "STRING"}, "format": {"nullable": true, "type": "INTEGER"}, "$ref": {"type": "ARRAY", "items": {"type": "NUMBER"}}}
            }),
            vec![]
        )
    );
}

#[test]
fn what_the_language_has_no_word_for_is_told_in_the_description_and_noted() {
    let schema = json!({
        "type": "object", "additionalProperties": false, "propertyNames": {"pattern": "a"},
        "properties": {
            "kind": {"const": "a", "default": "a"},
            "n": {"type": "number", "exclusiveMinimum": 0, "description": "count"},
            "list": {"type": "array", "uniqueItems": true, "items": {"$ref": "#/definitions/x"}}
        },
        "definitions": {"x": {"type": "string", "pattern": "^a"}, "unused": {"type": "string"}}
    });
    assert_eq!(
        plain(&schema),
        (
            json!({
                "type": "object", "additionalProperties": false,
                "properties": {
                    "kind": {"enum": ["a"], "description": "{default: \"a\"}"},
                    "n": {"type": "number", "description": "count\n\n{exclusiveMinimum: 0}"},
                    "list": {"type": "array", "items": {"$ref": "#/$defs/x"}, "description": "{uniqueItems: true}"}
                },
                "$defs": {"x": {"type": "string", "description": "{pattern: \"^a\"}"}}
            }),
            vec!["exclusiveMinimum".to_owned(), "pattern".into(), "propertyNames".into(), "uniqueItems".into()]
        )
    );
}

#[test]
fn what_stands_beside_a_reference_is_kept_by_inlining_it() {
    let schema = json!({
        "type": "object",
        "properties": {
            "a": {"$ref": "#/$defs/point", "description": "where"},
            "b": {"allOf": [{"$ref": "#/$defs/point"}], "title": "b"},
            "c": {"allOf": [{"$ref": "#/$defs/point"}, {"properties": {"z": {"type": "number"}}, "required": ["z", "x"]}]},
            "d": {"$ref": "#/$defs/gone"},
            "e": {"$ref": "#/properties/a"}
        },
        "$defs": {"point": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"], "description": "a point"}}
    });
    let point = |fields: Value| {
        let mut all = json!({"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]});
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        all
    };
    assert_eq!(
        plain(&schema),
        (
            json!({
                "type": "object",
                "properties": {
                    "a": point(json!({"description": "where"})),
                    "b": point(json!({"description": "a point", "title": "b"})),
                    "c": {"type": "object", "properties": {"x": {"type": "number"}, "z": {"type": "number"}}, "required": ["x", "z"], "description": "a point"},
                    "d": {},
                    "e": {"$ref": "#/$defs/properties_a"}
                },
                "$defs": {"properties_a": point(json!({"description": "where"}))}
            }),
            vec!["$ref".to_owned()]
        )
    );
}

#[test]
fn a_circle_stays_a_reference_and_is_never_required() {
    let schema = json!({
        "$ref": "#/$defs/node",
        "$defs": {"node": {"type": "object", "required": ["name", "next"],
            "properties": {"name": {"type": "string"}, "next": {"$ref": "#/$defs/node"}}}}
    });
    let node = |required: Value| json!({"type": "object", "required": required, "properties": {"name": {"type": "string"}, "next": {"$ref": "#/$defs/node"}}});
    let mut expected = node(json!(["name", "next"]));
    expected["$defs"] = json!({"node": node(json!(["name"]))});
    assert_eq!(plain(&schema), (expected, vec!["required".to_owned()]));

    // The document itself, and a reference that leads nowhere but to itself.
    let tree = json!({"type": "object", "properties": {"child": {"$ref": "#"}}});
    let root = json!({"type": "object", "properties": {"child": {"$ref": "#/$defs/root"}}});
    let mut expected = root.clone();
    expected["$defs"] = json!({"root": root});
    assert_eq!(plain(&tree).0, expected);
    let nowhere = json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}});
    let (compiled, _) = plain(&nowhere);
    assert_eq!(compiled["$ref"], "#/$defs/a");
    assert_eq!(subset(&nowhere).0, json!({"type": "OBJECT"}));
}

#[test]
fn the_subset_inlines_merges_and_ends_recursion() {
    let (schema, notes) = subset(&json!({
        "type": "object", "additionalProperties": false, "required": ["a", "gone"],
        "properties": {
            "a": {"$ref": "#/$defs/node"}, "b": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "c": {"type": "integer", "enum": [1, 2]}, "d": {"type": "array"},
            "e": {"type": ["string", "integer"], "description": "either"},
            "f": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": false},
            "g": {"anyOf": [{"properties": {"x": {"type": "string"}}}, {"properties": {"y": {"type": "string"}}}], "type": "object", "title": "t"}
        },
        "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}}
    }));
    assert_eq!(
        schema,
        json!({
            "type": "OBJECT", "required": ["a"],
            "properties": {
                "a": {"type": "OBJECT", "properties": {"next": {"type": "OBJECT", "properties": {"next": {"type": "OBJECT"}}}}},
                "b": {"nullable": true, "type": "STRING"},
                "c": {"type": "STRING", "format": "enum", "enum": ["1", "2"], "description": "{enum: [1,2]}"},
                "d": {"type": "ARRAY", "items": {"type": "STRING"}},
                "e": {"anyOf": [{"type": "STRING", "description": "either"}, {"type": "INTEGER", "description": "either"}]},
                "f": {"type": "ARRAY", "minItems": 2, "maxItems": 2, "items": {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]}},
                "g": {"anyOf": [
                    {"type": "OBJECT", "properties": {"x": {"type": "STRING"}}, "title": "t"},
                    {"type": "OBJECT", "properties": {"y": {"type": "STRING"}}, "title": "t"}
                ]}
            }
        })
    );
    assert_eq!(notes, ["$ref", "enum", "prefixItems", "required"]);
}

#[test]
fn schemas_that_say_yes_or_no_and_words_of_other_forms() {
    let schema = json!({"type": "OBJECT", "properties": {"any": true, "none": false, "odd": {"type": "file", "enum": [true, "a"], "minItems": "1"}},
        "anyOf": [{"required": ["any"]}, true]});
    assert_eq!(
        plain(&schema),
        (
            json!({"type": "object", "properties": {"any": {}, "odd": {"description": "{enum: [true,\"a\"]}"}}}),
            vec!["anyOf".to_owned(), "enum".into(), "minItems".into(), "properties".into(), "required".into(), "type".into()]
        )
    );
    for odd in [json!(null), json!(3), json!("x"), json!([]), json!(true), json!(false)] {
        assert_eq!((plain(&odd).0, subset(&odd).0), (json!({}), json!({})));
        assert_eq!(compile_parameters(&odd, Target::OpenApi).schema, json!({"type": "OBJECT"}));
    }
}

#[test]
fn a_clients_subset_reads_as_json_schema() {
    let schema = json!({
        "type": "OBJECT", "property_ordering": ["a"],
        "properties": {"a": {"type": "STRING", "nullable": true, "format": "enum", "enum": ["x"]}, "any_of": {"type": "ARRAY", "min_items": "1", "items": {"type": "integer"}},
            "r": {"ref": "#/defs/d"}},
        "defs": {"d": {"type": "STRING"}}
    });
    assert_eq!(
        to_json_schema(&schema),
        json!({
            "type": "object",
            "properties": {"a": {"type": ["string", "null"], "enum": ["x", null]}, "any_of": {"type": "array", "minItems": 1, "items": {"type": "integer"}},
                "r": {"$ref": "#/$defs/d"}},
            "$defs": {"d": {"type": "string"}}
        })
    );
}

/// A small generator with a fixed seed: every run makes the same schemas.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())].clone()
    }

    fn scalar(&mut self) -> Value {
        self.one(&[json!(null), json!(true), json!(false), json!(0), json!(1.5), json!("a"), json!(""), json!("é"), json!(-3)])
    }

    fn name(&mut self) -> String {
        self.one(&["a", "b", "title", "$ref", "properties", "enum", "x/y", "~"]).to_owned()
    }

    fn list(&mut self, depth: usize) -> Value {
        (0..self.roll(4)).map(|_| self.schema(depth + 1)).collect()
    }

    fn map(&mut self, depth: usize) -> Value {
        Value::Object((0..self.roll(4)).map(|_| (self.name(), self.schema(depth + 1))).collect())
    }

    fn schema(&mut self, depth: usize) -> Value {
        if depth > 5 || self.roll(12) == 0 {
            return self.one(&[json!({}), json!(true), json!(false), json!(null), json!({"type": "string"}), json!([])]);
        }
        let mut fields = Object::new();
        for _ in 0..self.roll(5) {
            let name = self.one(&[
                "type",
                "type",
                "properties",
                "properties",
                "items",
                "anyOf",
                "oneOf",
                "allOf",
                "$ref",
                "$ref",
                "enum",
                "const",
                "required",
                "prefixItems",
                "additionalProperties",
                "nullable",
                "format",
                "description",
                "title",
                "minItems",
                "maximum",
                "pattern",
                "default",
                "not",
                "x-a",
                "$defs",
                "definitions",
                "propertyOrdering",
                "uniqueItems",
                "if",
            ]);
            let value = match (name, self.roll(8)) {
                (_, 0) => self.scalar(),
                ("type", 1) => json!(["string", "null"]),
                ("type", 2) => json!(["string", "integer", "array"]),
                ("type", _) => self.one(&["string", "object", "array", "number", "OBJECT", "odd", "null"]).into(),
                ("properties" | "$defs" | "definitions", _) => self.map(depth),
                ("items" | "additionalProperties" | "not" | "if", _) => self.schema(depth + 1),
                ("anyOf" | "oneOf" | "allOf" | "prefixItems", _) => self.list(depth),
                ("$ref", _) => {
                    let place = self.one(&[
                        "#/$defs/a",
                        "#/$defs/b",
                        "#/definitions/a",
                        "#",
                        "#/properties/a",
                        "http://x",
                        "#/$defs/x~1y",
                        "#/items",
                    ]);
                    place.into()
                }
                ("enum", _) => (0..self.roll(4)).map(|_| self.scalar()).collect(),
                ("required" | "propertyOrdering", _) => (0..self.roll(4)).map(|_| Value::from(self.name())).collect(),
                _ => self.scalar(),
            };
            fields.insert(name.to_owned(), value);
        }
        fields.into()
    }
}

/// Keywords of the target, and where schemas lie under them: everything else is a fault.
fn check(schema: &Value, target: Target, at_top: bool) {
    let fields = schema.as_object().unwrap_or_else(|| panic!("no schema: {schema}"));
    for (name, value) in fields {
        match (target, name.as_str()) {
            (_, "properties") => value.as_object().unwrap().values().for_each(|one| check(one, target, false)),
            (_, "anyOf") | (Target::JsonSchema, "prefixItems") => {
                value.as_array().unwrap().iter().for_each(|one| check(one, target, false));
            }
            (Target::JsonSchema, "additionalProperties") if value.is_boolean() => {}
            (_, "items") | (Target::JsonSchema, "additionalProperties") => check(value, target, false),
            (Target::JsonSchema, "$defs") if at_top => {
                value.as_object().unwrap().values().for_each(|one| check(one, target, false));
            }
            (Target::JsonSchema, "$ref") => {
                assert!(value.as_str().unwrap().starts_with("#/$defs/"), "{schema}");
                assert!(fields.keys().all(|name| name.starts_with('$')), "{schema}");
            }
            (Target::JsonSchema, "type") => {
                let known = |kind: &Value| type_name(kind).is_some_and(|name| name == kind.as_str().unwrap());
                assert!(known(value) || value.as_array().is_some_and(|all| all.iter().all(known)), "{schema}");
            }
            (Target::OpenApi, "type") => {
                assert!(
                    type_name(value).is_some() && value.as_str().unwrap().bytes().all(|b| b.is_ascii_uppercase()),
                    "{schema}"
                );
            }
            (Target::JsonSchema, "enum") => {
                assert!(value.as_array().unwrap().iter().all(|one| one.is_string() || one.is_number()));
            }
            (Target::OpenApi, "enum") => {
                assert!(value.as_array().unwrap().iter().all(|one| one.as_str().is_some_and(|text| !text.is_empty())));
                assert_eq!(fields["type"], "STRING", "{schema}");
            }
            (_, "required" | "propertyOrdering") => {
                for name in value.as_array().unwrap() {
                    assert!(fields["properties"].get(name.as_str().unwrap()).is_some(), "{schema}");
                }
            }
            (Target::OpenApi, "nullable") => assert_eq!(*value, true),
            (Target::OpenApi, name) if open_api::fits(name, value) => {}
            (Target::JsonSchema, "format") => assert!(value.is_string()),
            (_, name) => assert!(fits_shared(name, value), "`{name}` in {schema}"),
        }
    }
    if target == Target::OpenApi && fields.contains_key("anyOf") {
        assert_eq!(fields.len(), 1, "beside a choice: {schema}");
    }
}

#[test]
fn any_schema_compiles_to_words_of_the_target_the_same_every_time_and_only_once() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..20_000 {
        let schema = dice.schema(0);
        for target in [Target::JsonSchema, Target::OpenApi] {
            let once = compile(&schema, target);
            check(&once.schema, target, true);
            assert_eq!(compile(&schema, target), once, "{schema}");
            let twice = compile(&once.schema, target);
            assert_eq!(twice.schema, once.schema, "twice, of {schema}");
            assert!(once.notes.len() <= MAX_NOTES);
        }
    }
}

#[test]
fn hostile_schemas_stay_small() {
    // Each definition refers twice to the next: inlined, that doubles at every step.
    let mut doubling = Object::new();
    for i in 0..64 {
        let next = json!({"$ref": format!("#/$defs/d{}", i + 1), "description": "beside"});
        doubling.insert(format!("d{i}"), json!({"type": "object", "properties": {"a": next, "b": next}}));
    }
    let doubling = json!({"$ref": "#/$defs/d0", "$defs": doubling});
    // Each definition refers to all: every order of them is a path.
    let mut all = Object::new();
    for i in 0..30 {
        let properties: Object = (0..30).map(|j| (format!("p{j}"), json!({"$ref": format!("#/$defs/d{j}")}))).collect();
        all.insert(format!("d{i}"), json!({"type": "object", "properties": properties}));
    }
    let all = json!({"$ref": "#/$defs/d0", "$defs": all});
    // A large definition, referred to often.
    let large = "x".repeat(100_000);
    let often: Object = (0..5000).map(|i| (format!("p{i}"), json!({"$ref": "#/$defs/large", "title": "t"}))).collect();
    let often = json!({"type": "object", "properties": often, "$defs": {"large": {"type": "string", "description": large}}});
    // A choice in a choice, each with siblings to spread.
    let mut choices = json!({"type": "string"});
    for _ in 0..40 {
        choices = json!({"anyOf": [choices, {"type": "integer"}], "properties": {"a": {"description": "y".repeat(100)}}});
    }
    let mut deep = json!({"type": "string"});
    for _ in 0..1000 {
        deep = json!({"items": deep});
    }
    let many: Value = (0..50_000).map(|n| json!(n)).collect();
    let many = json!({"enum": many, "required": (0..50_000).map(|n| n.to_string()).collect::<Vec<_>>()});
    for schema in [doubling, all, often, choices, deep, many] {
        let mut given = String::new();
        write!(given, "{schema}").unwrap();
        for target in [Target::JsonSchema, Target::OpenApi] {
            let compiled = compile(&schema, target);
            check(&compiled.schema, target, true);
            let size = compiled.schema.to_string().len();
            assert!(size <= 2 * given.len() + 2 * MAX_COPIED_BYTES, "{size} bytes of {}", given.len());
        }
    }
}
