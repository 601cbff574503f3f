//! The [`Inspector`]: views, the one pass over each, code and names, back to original bytes, overlaps settled.
//!
//! Limits: [`MAX_FINDINGS`] a segment; when there are more, the last one is stretched over all that
//! follow, so that what is past the limit is covered and not forgotten.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::Range,
    sync::Arc,
    time::Instant,
};

use cordon_domain::{EntityType, Finding, Role, Segment};

use crate::{
    address, code,
    decode::{self, Trust},
    detector::{self, DetectorInfo, Detectors},
    disguise::Disguises,
    fingerprint::Fingerprints,
    join::{self, Joined},
    load::{self, DetectorError},
    moment, names,
    ner::{Kind, Mention, Missed, Ner, Unspoken},
    normalise::normalise,
    opaque, organization,
    overlap::{self, Claim},
    remembered::{Asked, Known, Remembered},
    scan, table,
    view::View,
};

/// The most findings of one segment.
pub const MAX_FINDINGS: usize = 20_000;

/// How far behind a person or an address of mail a number is that reaches them, in bytes.
const REACHED: usize = 24;
/// The most numbers of a text that are held against what detectors left out.
const MOST_NUMBERS: usize = 256;

/// The detector files that are part of the program.
pub(crate) const EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/detector_files.rs"));

/// Asks the token classifier about a text, of which some is known to be no language.
type Ask<'a> = &'a mut dyn FnMut(&str, Unspoken<'_>) -> Arc<[Mention]>;

/// Finds what is sensitive in texts. Compiled once, shared by all threads.
pub struct Inspector {
    detectors: Detectors,
    /// What blocks of lines are, by kind.
    blocks: [(code::Kind, DetectorInfo); 4],
    names: DetectorInfo,
    below_street: DetectorInfo,
    signed: DetectorInfo,
    beside: DetectorInfo,
    /// What the token classifier finds, by kind.
    recognised: [(Kind, DetectorInfo); 5],
    ner: Option<Arc<Ner>>,
    fingerprints: Option<Arc<Fingerprints>>,
    /// For each detector of the files: whether it marks a region.
    regions: Vec<bool>,
    disguises: Disguises,
    remembered: Remembered,
}

/// The texts of a body with what is known of them from before.
pub struct Recalled {
    /// What each is known by, and what was found in it.
    texts: Vec<(Option<Known>, Option<Vec<Finding>>)>,
    /// Whether the token classifier is asked about the others.
    names: bool,
    unknown_bytes: usize,
    /// Those that may go on in a neighbour.
    joined: Vec<Joined>,
}

impl Recalled {
    /// Bytes of texts that have to be inspected, those at borders that a value may cross among them.
    #[must_use]
    pub fn unknown_bytes(&self) -> usize {
        self.unknown_bytes
    }
}

impl Inspector {
    /// The detectors that are part of the program.
    ///
    /// # Errors
    /// Never for a released program: a test compiles the embedded files.
    pub fn embedded() -> Result<Self, Vec<DetectorError>> {
        Self::load(&[])
    }

    /// The detectors that are part of the program and those of further files, given as name and YAML.
    ///
    /// # Errors
    /// Every mistake in the files, with file, line and column.
    pub fn load(extra: &[(String, String)]) -> Result<Self, Vec<DetectorError>> {
        let extra: Vec<(&str, &str)> = extra
            .iter()
            .map(|(name, yaml)| (name.as_str(), yaml.as_str()))
            .collect();
        let detectors = detector::compile(EMBEDDED, &extra)?;
        let disguises = Disguises::new(&detectors.prefixes)
            .map_err(|message| vec![load::error_at("", serde_saphyr::Location::UNKNOWN, message)])?;
        let regions = detectors
            .all
            .iter()
            .map(|d| matches!(d.info.entity.family(), "CONFIDENTIAL" | "INTERNAL"))
            .collect();
        Ok(Self {
            detectors,
            blocks: [
                (code::Kind::Code, built_in("source-code", "SOURCE_CODE")),
                (code::Kind::Trace, built_in("stack-trace", "STACK_TRACE")),
                (code::Kind::Log, built_in("log-lines", "LOG")),
                (
                    code::Kind::Configuration,
                    built_in("configuration", "CONFIGURATION"),
                ),
            ],
            names: built_in("person-listed", "PERSON"),
            below_street: built_in("address-below-street", "ADDRESS"),
            signed: built_in("organization-signed", "ORGANIZATION"),
            beside: built_in("organization-beside", "ORGANIZATION"),
            recognised: Kind::NAMES.map(|(kind, entity)| {
                let id = format!("{}-recognised", entity.to_ascii_lowercase().replace('_', "-"));
                (kind, built_in(&id, entity))
            }),
            ner: None,
            fingerprints: None,
            regions,
            disguises,
            remembered: Remembered::default(),
        })
    }

    /// The same with a token classifier, which [`inspect_fully`](Self::inspect_fully) asks.
    #[must_use]
    pub fn with_ner(mut self, ner: Option<Arc<Ner>>) -> Self {
        self.ner = ner;
        self
    }

    /// The same with the company's own fingerprints.
    #[must_use]
    pub fn with_fingerprints(mut self, fingerprints: Option<Arc<Fingerprints>>) -> Self {
        self.fingerprints = fingerprints;
        self
    }

    /// Its fingerprints.
    #[must_use]
    pub fn fingerprints(&self) -> Option<&Fingerprints> {
        self.fingerprints.as_deref()
    }

    /// Its token classifier.
    #[must_use]
    pub fn ner(&self) -> Option<&Arc<Ner>> {
        self.ner.as_ref()
    }

    /// Everything found in one text: sorted, disjoint, never empty, on character boundaries.
    #[must_use]
    pub fn inspect(&self, text: &str) -> Vec<Finding> {
        self.inspect_as(text, Role::User, 0, Vec::new(), &mut |_, _| Arc::default())
    }

    /// Everything found in the segments of a body, names by the token classifier among it, if there is one.
    /// When that is missed, all the rest is found nevertheless.
    #[must_use]
    pub fn inspect_fully(
        &self,
        segments: &[Segment],
        until: Option<Instant>,
    ) -> (Vec<Finding>, Option<Missed>) {
        self.inspect_recalled(
            segments,
            self.recall_of(None, segments, self.ner.is_some()),
            until,
        )
    }

    /// The same for somebody whose texts are remembered: what was found in one before is known again, unless there
    /// are fingerprints, which change by themselves. `names` says whether the token classifier is asked.
    #[must_use]
    pub fn inspect_again(
        &self,
        whose: &str,
        segments: &[Segment],
        names: bool,
        until: Option<Instant>,
    ) -> (Vec<Finding>, Option<Missed>) {
        self.inspect_recalled(segments, self.recall(whose, segments, names), until)
    }

    /// What is known of the texts of a body from before, as the first half of [`inspect_again`](Self::inspect_again).
    #[must_use]
    pub fn recall(&self, whose: &str, segments: &[Segment], names: bool) -> Recalled {
        let whose = Some(whose).filter(|_| self.fingerprints.is_none());
        self.recall_of(whose, segments, names && self.ner.is_some())
    }

    fn recall_of(&self, whose: Option<&str>, segments: &[Segment], names: bool) -> Recalled {
        let joined = join::joined(segments);
        // What may go on in a neighbour is looked at again, known or not, joined and by itself.
        let mut unknown_bytes = joined.iter().map(|joined| 2 * joined.text.len()).sum();
        let at_borders: HashSet<usize> = joined.iter().flat_map(|joined| joined.segments()).collect();
        let texts = (0..).zip(segments).map(|(index, segment)| {
            let known = whose.and_then(|whose| {
                self.remembered.known(&Asked {
                    whose,
                    role: segment.role,
                    moment: is_moment(segment),
                    names,
                    text: segment.text.as_str(),
                })
            });
            let found = known.and_then(|known| self.remembered.findings(known, index));
            if found.is_none() || at_borders.contains(&index) {
                unknown_bytes += segment.text.len();
            }
            (known, found)
        });
        Recalled {
            texts: texts.collect(),
            names,
            unknown_bytes,
            joined,
        }
    }

    /// Everything found in those segments, whose texts were recalled: the second half of
    /// [`inspect_again`](Self::inspect_again).
    ///
    /// # Panics
    /// When they are not the segments that were recalled.
    #[must_use]
    pub fn inspect_recalled(
        &self,
        segments: &[Segment],
        recalled: Recalled,
        until: Option<Instant>,
    ) -> (Vec<Finding>, Option<Missed>) {
        assert_eq!(
            segments.len(),
            recalled.texts.len(),
            "other segments were recalled"
        );
        let mut missed = None;
        let mut findings = Vec::new();
        let mut across = self.across(&recalled.joined);
        for (index, (segment, (known, found))) in segments.iter().zip(recalled.texts).enumerate() {
            let claims = across.remove(&index).unwrap_or_default();
            // What goes on in a neighbour depends on more than the text itself.
            let known = known.filter(|_| claims.is_empty());
            if let Some(found) = found.filter(|_| known.is_some()) {
                findings.extend(found);
                continue;
            }
            let ner = self.ner.as_deref().filter(|_| recalled.names && missed.is_none());
            let mut ask = |text: &str, unspoken: Unspoken<'_>| -> Arc<[Mention]> {
                let Some(ner) = ner else { return Arc::default() };
                ner.mentions(text, unspoken, until).unwrap_or_else(|why| {
                    missed = Some(why);
                    Arc::default()
                })
            };
            let found = self.inspect_segment(segment, index, claims, &mut ask);
            // Without its names a text is not known.
            if let Some(known) = known.filter(|_| missed.is_none()) {
                self.remembered.remember(known, &found);
            }
            findings.extend(found);
        }
        (findings, missed)
    }

    /// Everything found in the segments of a body without the token classifier, by segment and place.
    #[must_use]
    pub fn inspect_all(&self, segments: &[Segment]) -> Vec<Finding> {
        let mut across = self.across(&join::joined(segments));
        (0..)
            .zip(segments)
            .flat_map(|(index, segment)| {
                let claims = across.remove(&index).unwrap_or_default();
                self.inspect_segment(segment, index, claims, &mut |_, _| Arc::default())
            })
            .collect()
    }

    /// All that it can find.
    #[must_use]
    pub fn entity_types(&self) -> BTreeSet<EntityType> {
        self.detectors().map(|info| info.entity.clone()).collect()
    }

    /// All detectors, those of the files first.
    pub fn detectors(&self) -> impl Iterator<Item = &DetectorInfo> {
        self.detectors
            .all
            .iter()
            .map(|detector| &detector.info)
            .chain(self.blocks.iter().map(|(_, info)| info))
            .chain([&self.names, &self.below_street, &self.signed, &self.beside])
            .chain(self.recognised.iter().map(|(_, info)| info))
            .chain(self.fingerprints.iter().flat_map(|prints| prints.detectors()))
    }

    /// What lies across the borders of texts, by segment.
    fn across(&self, joined: &[Joined]) -> HashMap<usize, Vec<Claim>> {
        let mut all: HashMap<usize, Vec<Claim>> = HashMap::new();
        for joined in joined {
            let found = self.strong(&joined.text);
            let crossing: Vec<_> = found
                .iter()
                .map(|(slot, span, score)| (*slot, joined.across(span), *score))
                .filter(|(_, touched, _)| !touched.is_empty())
                .collect();
            if crossing.is_empty() {
                continue;
            }
            let whole: Vec<(usize, usize)> = (0..)
                .zip(joined.parts())
                .flat_map(|(part, text)| self.strong(text).into_iter().map(move |(slot, ..)| (part, slot)))
                .collect();
            for (slot, touched, score) in crossing {
                let info = &self.detectors.all[slot].info;
                // A value that is whole in one of the texts does not go on in the next.
                let same = |other: usize| self.detectors.all[other].info.entity == info.entity;
                let parts = touched.first().map_or(0, |touched| touched.part)
                    ..touched.last().map_or(0, |touched| touched.part + 1);
                if whole
                    .iter()
                    .any(|(part, other)| parts.contains(part) && same(*other))
                {
                    continue;
                }
                for touched in touched {
                    let evidence = vec!["goes on in the next text"];
                    let mut claim = claim(info, touched.segment, touched.span, score, evidence, false);
                    claim.validated = true;
                    all.entry(touched.segment).or_default().push(claim);
                }
            }
        }
        all
    }

    /// Values of strong detectors in a text: the detector, the span and the score.
    fn strong(&self, text: &str) -> Vec<(usize, Range<usize>, f32)> {
        let mut all = Vec::new();
        let normal = normalise(text);
        let mut take = |view: &View<'_>, decoded: bool| {
            for found in scan::scan(&self.detectors, view.text(), &[]) {
                let slot = usize::from(found.detector);
                if self.is_strong(slot, found.validated) && (!decoded || view.is_derived(found.span.clone()))
                {
                    all.push((slot, view.source_span(found.span), found.score));
                }
            }
        };
        take(&normal, false);
        decode::each(&normal, &[], Some(&self.disguises), &mut |view, _| {
            take(view, true)
        });
        all
    }

    fn inspect_segment(
        &self,
        segment: &Segment,
        index: usize,
        claims: Vec<Claim>,
        mentions: Ask<'_>,
    ) -> Vec<Finding> {
        let text = segment.text.as_str();
        let mut found = self.inspect_as(text, segment.role, index, claims, mentions);
        // A number of a JSON body is a segment by itself, and only its key tells that it is a time.
        if is_moment(segment) {
            found.retain(|finding| finding.source.is_some());
        }
        found
    }

    fn inspect_as(
        &self,
        text: &str,
        role: Role,
        segment: usize,
        claims: Vec<Claim>,
        mentions: Ask<'_>,
    ) -> Vec<Finding> {
        let claims = self.claims(text, role, segment, claims, mentions);
        limited(overlap::resolve(text, overlap::joined(claims)))
    }

    /// Everything that matches in a text, before overlaps are settled, and the claims given.
    pub(crate) fn claims(
        &self,
        text: &str,
        role: Role,
        segment: usize,
        mut claims: Vec<Claim>,
        mentions: Ask<'_>,
    ) -> Vec<Claim> {
        if text.trim().is_empty() {
            return Vec::new();
        }
        let normal = normalise(text);
        let opaque = opaque::stretches(normal.text());
        self.patterns(
            &normal,
            &opaque,
            segment,
            |span, _| Some(normal.source_span(span)),
            &mut claims,
        );
        let mut in_tables = Vec::new();
        let mut moments = HashSet::new();
        table::each(normal.text(), |table| {
            moments.extend(table.moments().map(|span| normal.source_span(span)));
            let back = |span: Range<usize>, _| {
                let counts = table.is_in_cell(&span);
                counts.then(|| normal.source_span(table.view.source_span(span)))
            };
            self.patterns(&table.view, &[], segment, back, &mut in_tables);
        });
        // The header of a column tells more than words in other cells, which the text itself has nearer.
        claims.retain(|claim| !moments.contains(&claim.finding.span));
        claims.append(&mut in_tables);
        decode::each(&normal, &opaque, Some(&self.disguises), &mut |view, trust| {
            let back = |span: Range<usize>, strong: bool| {
                // What is not decoded, nor its neighbour is, was seen before, in the normalised view.
                let around = span.start.saturating_sub(1)..(span.end + 1).min(view.text().len());
                let counts = (trust == Trust::Full || strong) && view.is_derived(around);
                counts.then(|| view.source_span(span))
            };
            self.patterns(view, &[], segment, back, &mut claims);
            if trust == Trust::Full {
                let back = |span: Range<usize>| view.is_derived(span.clone()).then(|| view.source_span(span));
                self.own(view, segment, back, &mut claims);
            }
        });
        self.own(
            &normal,
            segment,
            |span| Some(normal.source_span(span)),
            &mut claims,
        );
        let written = matches!(
            role,
            Role::System | Role::User | Role::Assistant | Role::ToolArguments | Role::ToolResult
        );
        if written {
            for block in code::blocks(text) {
                let Some((_, info)) = self.blocks.iter().find(|(kind, _)| *kind == block.kind) else {
                    continue;
                };
                claims.push(claim(
                    info,
                    segment,
                    block.span,
                    block.score,
                    block.evidence,
                    true,
                ));
            }
        }
        if written || role == Role::Other {
            let code = self.code(&normal, &claims);
            let unspoken = Unspoken {
                binary: &opaque,
                code: &code,
            };
            let mentions = mentions(normal.text(), unspoken);
            for mention in mentions.iter() {
                let info = self.recognised.iter().find(|(kind, _)| *kind == mention.kind);
                if let Some((_, info)) = info {
                    let span = normal.source_span(mention.span.clone());
                    claims.push(claim(
                        info,
                        segment,
                        span,
                        mention.score,
                        vec!["token classifier"],
                        false,
                    ));
                }
            }
            self.numbers(&normal, &mentions, segment, &mut claims);
            for name in names::names(normal.text()) {
                let span = normal.source_span(name.span);
                claims.push(claim(
                    &self.names,
                    segment,
                    span,
                    name.score,
                    vec![name.evidence],
                    false,
                ));
            }
            for span in address::further_lines(text, &claims) {
                let evidence = vec!["below a street"];
                claims.push(claim(&self.below_street, segment, span, 0.5, evidence, false));
            }
            for span in organization::in_signatures(text, &claims) {
                let evidence = vec!["between a person and an address"];
                claims.push(claim(&self.signed, segment, span, 0.5, evidence, false));
            }
            for span in organization::at_addresses(text, &claims) {
                let evidence = vec!["above or before a street"];
                claims.push(claim(&self.signed, segment, span, 0.5, evidence, false));
            }
            for span in organization::in_company(text, &claims) {
                let evidence = vec!["beside a person or an organisation"];
                claims.push(claim(&self.beside, segment, span, 0.5, evidence, false));
            }
        }
        claims.retain(|claim| !claim.finding.span.is_empty());
        claims
    }

    /// What of the company's own stands in a view.
    fn own(
        &self,
        view: &View<'_>,
        segment: usize,
        back: impl Fn(Range<usize>) -> Option<Range<usize>>,
        claims: &mut Vec<Claim>,
    ) {
        let hits = self
            .fingerprints
            .iter()
            .flat_map(|prints| prints.find(view.text()));
        for hit in hits {
            if let Some(span) = back(hit.span) {
                let mut claim = claim(
                    hit.detector,
                    segment,
                    span,
                    hit.score,
                    vec![hit.evidence],
                    hit.region,
                );
                claim.finding.source = Some(hit.source);
                // It is known for certain, so it names the passage and not the look for code that sees the same.
                claim.validated = true;
                claims.push(claim);
            }
        }
    }

    /// The numbers that the token classifier saw and that patterns left out, where a detector agrees.
    fn numbers(&self, normal: &View<'_>, mentions: &[Mention], segment: usize, claims: &mut Vec<Claim>) {
        let numbers = mentions
            .iter()
            .filter(|mention| mention.kind == Kind::Number)
            .take(MOST_NUMBERS);
        let mut found = Vec::new();
        for number in numbers {
            let span = normal.source_span(number.span.clone());
            if claims.iter().any(|claim| {
                !claim.region && claim.finding.span.start < span.end && span.start < claim.finding.span.end
            }) {
                continue;
            }
            let reached = claims.iter().any(|claim| {
                matches!(claim.finding.entity.as_str(), "EMAIL" | "PERSON")
                    && (claim.finding.span.end..claim.finding.span.end + REACHED).contains(&span.start)
            });
            for hit in scan::hinted(&self.detectors, normal.text(), &number.span, reached) {
                let info = &self.detectors.all[usize::from(hit.detector)].info;
                let span = normal.source_span(hit.span);
                let mut claim = claim(info, segment, span, hit.score, hit.evidence, false);
                claim.validated = hit.validated;
                found.push(claim);
            }
        }
        claims.append(&mut found);
    }

    /// Blocks of code, in places of the normalised view. Code is found in the source itself, so its places carry
    /// over where nothing was changed before it.
    fn code(&self, normal: &View<'_>, claims: &[Claim]) -> Vec<Range<usize>> {
        let mut blocks: Vec<Range<usize>> = claims
            .iter()
            .filter(|claim| normal.is_unchanged() && claim.finding.detector == self.blocks[0].1.id)
            .map(|claim| claim.finding.span.clone())
            .collect();
        blocks.sort_unstable_by_key(|block| block.start);
        blocks
    }

    /// Whether what a detector found is told by its form alone.
    fn is_strong(&self, slot: usize, validated: bool) -> bool {
        let detector = &self.detectors.all[slot];
        detector.strong && (validated || matches!(detector.info.entity.family(), "SECRET" | "EMAIL"))
    }

    fn patterns(
        &self,
        view: &View<'_>,
        skip: &[Range<usize>],
        segment: usize,
        back: impl Fn(Range<usize>, bool) -> Option<Range<usize>>,
        claims: &mut Vec<Claim>,
    ) {
        for found in scan::scan(&self.detectors, view.text(), skip) {
            let slot = usize::from(found.detector);
            let strong = self.is_strong(slot, found.validated);
            let Some(span) = back(found.span, strong) else {
                continue;
            };
            let info = &self.detectors.all[slot].info;
            let mut claim = claim(
                info,
                segment,
                span,
                found.score,
                found.evidence,
                self.regions[slot],
            );
            claim.validated = found.validated;
            claims.push(claim);
        }
    }
}

/// Whether a text is a time by its key. It is all that findings depend on a place for.
fn is_moment(segment: &Segment) -> bool {
    moment::is_unix_time(segment.text.as_str().trim()) && moment::is_key_of_moment(segment.place.as_str())
}

fn claim(
    info: &DetectorInfo,
    segment: usize,
    span: Range<usize>,
    score: f32,
    evidence: Vec<&'static str>,
    region: bool,
) -> Claim {
    let finding = Finding {
        segment,
        span,
        entity: info.entity.clone(),
        detector: Arc::clone(&info.id),
        score,
        evidence,
        source: None,
    };
    Claim {
        finding,
        validated: false,
        region,
    }
}

fn built_in(id: &str, entity: &str) -> DetectorInfo {
    let entity = entity
        .parse()
        .expect("the names of built-in entity types are well formed");
    DetectorInfo::built_in(id, entity)
}

/// Joins what is past the limit to the last finding within it.
fn limited(mut findings: Vec<Finding>) -> Vec<Finding> {
    if findings.len() > MAX_FINDINGS {
        let end = findings.last().map_or(0, |last| last.span.end);
        findings.truncate(MAX_FINDINGS);
        if let Some(last) = findings.last_mut() {
            last.span.end = end;
            last.evidence.push("findings beyond the limit are joined");
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_tells_what_the_cells_of_its_column_are() {
        let rows: String = (0..40)
            .map(|row| format!("{row},Ulm {row},482913{row}7,open\n"))
            .collect();
        let text = format!("Please check:\n\nno,city,medical record number,state\n{rows}");
        let found = Inspector::embedded().ok().unwrap().inspect(&text);
        let records: Vec<&str> = found
            .iter()
            .filter(|finding| finding.entity.as_str() == "MEDICAL_RECORD_NUMBER")
            .map(|finding| &text[finding.span.clone()])
            .collect();
        assert_eq!(records.len(), 40, "{found:?}");
        assert_eq!((records[0], records[39]), ("48291307", "482913397"));
        assert_eq!(found.len(), 40, "{found:?}");
    }

    #[test]
    fn what_is_known_again_is_found_again() {
        let inspector = Inspector::embedded().ok().unwrap();
        let segment = |place: &str, role: Role, text: &str| Segment {
            place: cordon_domain::Place::new(place),
            role,
            text: cordon_domain::Text::from(text.to_owned()),
        };
        let texts = [
            segment(
                "/a",
                Role::User,
                "Mail mira.holt@fab-seven.example, card 4111 1111 1111 1111",
            ),
            segment("/b", Role::Other, "gpt"),
            segment("/created_at", Role::Other, "1700000000"),
            segment("/n", Role::Other, "1700000000"),
            // A value that goes on in the next text is not found in either alone.
            segment("/c", Role::User, "the card is 4111 1111"),
            segment("/d", Role::User, "1111 1111"),
        ];
        let whole = inspector.inspect_all(&texts);
        assert!(whole.iter().any(|finding| finding.segment == 5));
        for whose in ["a", "a", "b"] {
            assert_eq!(inspector.inspect_again(whose, &texts, true, None).0, whole);
            // In another order and alone, each is what it is there.
            for text in &texts {
                let alone = std::slice::from_ref(text);
                assert_eq!(
                    inspector.inspect_again(whose, alone, true, None).0,
                    inspector.inspect_all(alone)
                );
            }
        }
    }

    #[test]
    fn what_is_left_to_inspect_is_told_ahead() {
        let inspector = Inspector::embedded().ok().unwrap();
        let texts = |texts: &[&str]| -> Vec<Segment> {
            let segment = |text: &&str| Segment {
                place: cordon_domain::Place::new("/a"),
                role: Role::User,
                text: cordon_domain::Text::from((*text).to_owned()),
            };
            texts.iter().map(segment).collect()
        };
        let left = |texts: &[Segment]| inspector.recall("a", texts, true).unknown_bytes();
        let plain = texts(&["One sentence.", "Another one."]);
        assert_eq!(left(&plain), 25);
        let again = |texts: &[Segment]| drop(inspector.inspect_again("a", texts, true, None));
        again(&plain[..1]);
        assert_eq!(left(&plain), 12);
        again(&plain);
        assert_eq!(left(&plain), 0);
        // What a value may cross the border of is looked at again, known or not.
        let cut = texts(&["the card is 4111 1111", "1111 1111"]);
        for text in cut.chunks(1) {
            again(text);
            assert_eq!(left(text), 0);
        }
        assert!(left(&cut) > 30, "{}", left(&cut));
    }

    #[test]
    fn past_the_limit_all_is_covered() {
        let finding = |at: usize| Finding {
            segment: 0,
            span: at * 2..at * 2 + 1,
            entity: "EMAIL".parse().unwrap(),
            detector: "d".into(),
            score: 1.0,
            evidence: vec![],
            source: None,
        };
        let all = limited((0..MAX_FINDINGS + 5).map(finding).collect());
        assert_eq!(all.len(), MAX_FINDINGS);
        assert_eq!(all.last().unwrap().span.end, (MAX_FINDINGS + 4) * 2 + 1);
    }
}
