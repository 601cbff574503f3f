//! What mentions are, and which labels of classifiers say so.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use serde::Deserialize;

use super::NerError;

/// What a mention is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Person,
    /// With a street, a house or a flat.
    Address,
    /// A city or a state by itself.
    Location,
    PostalCode,
    Organization,
    /// A number of somebody's: of a telephone, an account, a document. It counts where a detector agrees.
    Number,
}

impl Kind {
    /// The kinds and the entity types that they are found as.
    pub(crate) const NAMES: [(Self, &'static str); 5] = [
        (Self::Person, "PERSON"),
        (Self::Address, "ADDRESS"),
        (Self::Location, "LOCATION"),
        (Self::PostalCode, "POSTAL_CODE"),
        (Self::Organization, "ORGANIZATION"),
    ];

    /// The kind of a label, without its `B-` or `I-`; none for what is not asked for.
    fn of_label(label: &str) -> Option<Self> {
        Some(
            match label.to_ascii_uppercase().replace([' ', '-'], "_").as_str() {
                "GIVEN_NAME" | "SURNAME" | "PER" | "PERSON" | "NAME" | "FIRSTNAME" | "LASTNAME"
                | "MIDDLENAME" | "FIRST_NAME" | "LAST_NAME" | "MIDDLE_NAME" | "GIVENNAME" => Self::Person,
                "BUILDING_NUMBER" | "STREET_NAME" | "SECONDARY_ADDRESS" | "SECONDARYADDRESS" | "STREET"
                | "ADDRESS" | "STREET_ADDRESS" | "BUILDINGNUM" | "BUILDINGNUMBER" => Self::Address,
                "CITY" | "STATE" | "LOC" | "LOCATION" | "GPE" | "COUNTY" | "COUNTRY" => Self::Location,
                "ZIP_CODE" | "ZIPCODE" | "POSTAL_CODE" | "POSTCODE" => Self::PostalCode,
                "ORG" | "ORGANIZATION" | "ORGANISATION" | "COMPANY" | "COMPANYNAME" | "COMPANY_NAME" => {
                    Self::Organization
                }
                "PHONE" | "TAX_ID" | "BANK_ACCOUNT" | "ROUTING_NUMBER" | "GOVERNMENT_ID" | "PASSPORT"
                | "DRIVERS_LICENSE" | "PHONE_NUMBER" | "ID_NUMBER" | "SSN" => Self::Number,
                _ => return None,
            },
        )
    }

    /// Kinds that are parts of one thing when they follow each other.
    pub(super) fn joins(self, other: Self) -> bool {
        let place = |kind| matches!(kind, Self::Address | Self::Location | Self::PostalCode);
        self == other || (place(self) && place(other))
    }

    /// What two parts are together.
    pub(super) fn with(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Location, Self::PostalCode) | (Self::PostalCode, Self::Location) => Self::Location,
            _ => Self::Address,
        }
    }
}

/// What is said to be meant by labels, before what is known of them: a label, without `B-` or `I-`, and the
/// entity type that it stands for, or `NONE`.
pub(super) struct Meanings(BTreeMap<String, Option<Kind>>);

impl Meanings {
    pub(super) fn new(said: &BTreeMap<String, String>) -> Result<Self, NerError> {
        let mut meanings = BTreeMap::new();
        for (label, entity) in said {
            let kind = Kind::NAMES.iter().find(|(_, name)| name == entity);
            if kind.is_none() && entity != "NONE" {
                return Err(NerError::Meaning(label.clone(), entity.clone()));
            }
            meanings.insert(label.clone(), kind.map(|(kind, _)| *kind));
        }
        Ok(Self(meanings))
    }

    pub(super) fn of(&self, label: &str) -> Option<Kind> {
        let said = self.0.iter().find(|(said, _)| said.eq_ignore_ascii_case(label));
        said.map_or_else(|| Kind::of_label(label), |(_, kind)| *kind)
    }

    /// What was said to stand for something.
    pub(super) fn said(&self) -> Vec<(String, Kind)> {
        let all = self.0.iter();
        all.filter_map(|(label, kind)| Some((label.clone(), (*kind)?)))
            .collect()
    }
}

/// The labels of a token classifier, by their number.
pub(super) struct Labels {
    pub(super) kinds: Vec<Option<Kind>>,
    /// For each label, whether it begins something new (`B-`).
    pub(super) begins: Vec<bool>,
}

#[derive(Deserialize)]
struct Named {
    id2label: HashMap<String, String>,
}

impl Labels {
    pub(super) fn read(path: &Path, meanings: &Meanings) -> Result<Self, NerError> {
        let unusable = |what: String| NerError::Labels(path.to_owned(), what);
        let text = std::fs::read_to_string(path).map_err(|error| unusable(error.kind().to_string()))?;
        // JSON is YAML, which this room reads already.
        let read: Named = serde_saphyr::from_str(&text).map_err(|error| unusable(error.to_string()))?;
        let mut labels = vec![String::new(); read.id2label.len()];
        for (id, label) in read.id2label {
            let slot = id.parse::<usize>().ok().and_then(|id| labels.get_mut(id));
            *slot.ok_or_else(|| unusable(format!("`{id}` is no number of a label")))? = label;
        }
        let bare = |label: &str| {
            // Some classifiers mark single tokens and ends as well: BILOU.
            let bare = ["B-", "I-", "L-", "U-", "E-", "S-"]
                .iter()
                .find_map(|mark| label.strip_prefix(mark));
            meanings.of(bare.unwrap_or(label))
        };
        let kinds: Vec<Option<Kind>> = labels.iter().map(|label| bare(label)).collect();
        if kinds.iter().flatten().all(|kind| *kind == Kind::Number) {
            return Err(unusable("no label is of a name or a place".to_owned()));
        }
        let begins = labels
            .iter()
            .map(|label| ["B-", "U-", "S-"].iter().any(|mark| label.starts_with(mark)))
            .collect();
        Ok(Self { kinds, begins })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(id2label: &str, said: &[(&str, &str)]) -> Result<Labels, NerError> {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("config.json");
        std::fs::write(&path, format!(r#"{{"id2label": {id2label}}}"#)).unwrap();
        let said = said
            .iter()
            .map(|(label, entity)| ((*label).to_owned(), (*entity).to_owned()))
            .collect();
        Labels::read(&path, &Meanings::new(&said)?)
    }

    #[test]
    fn labels_mean_what_is_known_of_them_unless_it_is_said() {
        let all = r#"{"0": "O", "1": "B-PER", "2": "I-PER", "3": "B-MISC", "4": "S-CITY"}"#;
        let labels = read(all, &[]).unwrap();
        let person = Some(Kind::Person);
        assert_eq!(labels.kinds, [None, person, person, None, Some(Kind::Location)]);
        assert_eq!(labels.begins, [false, true, false, true, true]);
        let labels = read(all, &[("MISC", "ORGANIZATION"), ("per", "NONE")]).unwrap();
        let (organization, location) = (Some(Kind::Organization), Some(Kind::Location));
        assert_eq!(labels.kinds, [None, None, None, organization, location]);
    }

    #[test]
    fn mistakes_are_named() {
        let error = read(r#"{"0": "O"}"#, &[]).err().unwrap().to_string();
        assert!(error.contains("config.json"), "{error}");
        let error = read(r#"{"0": "PER"}"#, &[("PER", "PEOPLE")])
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("PEOPLE") && error.contains("PER"), "{error}");
    }

    #[test]
    fn places_join_and_people_stay_apart() {
        assert_eq!(Kind::Location.with(Kind::Address), Kind::Address);
        assert_eq!(Kind::Location.with(Kind::PostalCode), Kind::Location);
        assert!(!Kind::Person.joins(Kind::Location));
    }
}
