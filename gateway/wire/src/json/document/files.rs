//! Files of a body: found on the walk, read out into segments behind the body's own, taken out again.
//!
//! On failure: an edit of a file that has no stand-in is [`SpliceError::Irremovable`].

use std::ops::Range;

use bytes::Bytes;
use cordon_domain::{Dialect, Edit, Place, Role, Segment, SpliceError, Text};

use super::{
    Document, Position, Site, Spot,
    walk::{Frame, Walk},
};
use crate::{
    Limits,
    attachment::{self, Alphabet, Attachment, Encoded},
    json::{Kind, Value, escape},
    request::DecodeError,
};

/// Objects around a file that may tell its name.
const NAMED_AROUND: usize = 4;

/// A file, and where it lies.
pub(super) struct File {
    pub(super) attachment: Attachment,
    at: At,
    /// Where the base64 lies in the text that holds it.
    content: Range<usize>,
    /// How it is encoded there; none where it is written as it is.
    alphabet: Option<Alphabet>,
    stand_in: StandIn,
    /// Where the segments lie that were read out of it.
    pub(super) segments: Range<usize>,
    /// Of a file whose one segment is the file itself: the bytes before it (a byte order mark).
    plain: Option<Vec<u8>>,
}

/// Which text a file lies in.
enum At {
    /// One that is no segment, since the file is all of it.
    Own(Site),
    /// A segment.
    Segment(usize),
}

/// What takes a file's place when it is taken out.
enum StandIn {
    /// The note as a part of the message, instead of these bytes of the layer that the file lies in.
    Part {
        span: Range<usize>,
        around: (&'static str, &'static str),
    },
    /// The note itself, instead of this span of the text that the file lies in.
    Note(Range<usize>),
    /// Nothing can.
    None,
}

impl Walk<'_> {
    /// Takes a string that is a file as a whole; false when it is none.
    pub(super) fn file<P: Position>(
        &mut self,
        text: &str,
        site: Site,
        at: P,
        pointer: &str,
        frames: &[Frame<'_, P>],
    ) -> Result<Option<Site>, DecodeError> {
        let Some(dialect) = self.files_of else {
            return Ok(Some(site));
        };
        let holder = frames.last();
        let expected = holder.is_some_and(|holder| is_expected(dialect, holder, pointer));
        let Some(encoded) = attachment::whole(text, expected) else {
            return Ok(Some(site));
        };
        let depth = self.depth(site.layer);
        let stand_in = stand_in(dialect, at.role(), depth, expected, text, pointer, frames);
        let (name, told) = around(frames);
        // What stands before the base64 is text; so is what does not decode.
        let is_file = encoded.bytes.is_some();
        let text_until = if is_file {
            encoded.content.start
        } else {
            text.len()
        };
        let at_file = if text_until > 0 {
            let place = Place::new(pointer);
            self.push(place, at.role(), text[..text_until].to_owned(), site)?;
            At::Segment(self.segments.len() - 1)
        } else {
            At::Own(site)
        };
        self.note_file(at.role(), pointer, encoded, at_file, stand_in, name, told)?;
        Ok(None)
    }

    /// Notes the files that lie within the text of the last segment.
    pub(super) fn files_within<P: Position>(&mut self, at: P, pointer: &str) -> Result<(), DecodeError> {
        let Some(segment) = self
            .segments
            .len()
            .checked_sub(1)
            .filter(|_| self.files_of.is_some())
        else {
            return Ok(());
        };
        for (whole, encoded) in attachment::data_uris(&self.segments[segment].text) {
            let stand_in = StandIn::Note(whole);
            self.note_file(
                at.role(),
                pointer,
                encoded,
                At::Segment(segment),
                stand_in,
                None,
                None,
            )?;
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "all that is known of a file")]
    fn note_file(
        &mut self,
        role: Role,
        pointer: &str,
        encoded: Encoded,
        at: At,
        stand_in: StandIn,
        name: Option<Text>,
        told: Option<Text>,
    ) -> Result<(), DecodeError> {
        if self.files.len() >= Limits::MOST_FILES {
            return Err(DecodeError::TooManyFiles {
                limit: Limits::MOST_FILES,
            });
        }
        let said = encoded
            .media_type
            .map(|said| Text::from(attachment::clipped(&said)));
        self.files.push(File {
            attachment: Attachment {
                place: Place::new(pointer),
                role,
                name,
                media_type: said.or(told),
                bytes: encoded.bytes,
                removable: !matches!(stand_in, StandIn::None),
            },
            at,
            content: encoded.content,
            alphabet: Some(encoded.alphabet),
            stand_in,
            segments: 0..0,
            plain: None,
        });
        Ok(())
    }
}

/// What an object tells of the files in it. It is read once, however many there are.
pub(super) struct Told {
    /// Of its `type`: whether it is that of a text, of base64, of sound.
    text: bool,
    base64: bool,
    sound: bool,
    /// Whether it has a media type by one of its usual names.
    typed: bool,
    /// Whether it has one as an upload of a web application has it.
    upload: bool,
    name: Option<Text>,
    media_type: Option<Text>,
}

impl Told {
    /// Where a file's name and its media type stand, what counts first coming first.
    const NAMES: [&str; 6] = [
        "filename",
        "file_name",
        "fileName",
        "displayName",
        "title",
        "name",
    ];
    const MEDIA_TYPES: [&str; 5] = ["media_type", "mime_type", "mimeType", "fileMimeType", "format"];

    fn of(object: Value<'_>) -> Self {
        let mut kind = None;
        let (mut names, mut media_types) = ([None; Self::NAMES.len()], [None; Self::MEDIA_TYPES.len()]);
        for (key, value) in object.members() {
            let Some(key) = key.text() else { continue };
            let at = |known: &[&str]| known.iter().position(|name| *name == key);
            if let Some(at) = at(&Self::NAMES) {
                names[at].get_or_insert(value);
            } else if let Some(at) = at(&Self::MEDIA_TYPES) {
                media_types[at].get_or_insert(value);
            } else if key == "type" {
                kind.get_or_insert(value);
            }
        }
        let says = |what: &str| kind.is_some_and(|kind: Value<'_>| kind.is_text(what));
        let told = |values: &[Option<Value<'_>>]| {
            let mut texts = values.iter().filter_map(|value| (*value)?.text());
            let text = texts.find(|text| !text.is_empty())?;
            Some(Text::from(attachment::clipped(&text)))
        };
        Self {
            text: says("text"),
            base64: says("base64"),
            sound: says("input_audio_buffer.append"),
            typed: media_types[..3].iter().any(Option::is_some),
            upload: media_types[3].is_some(),
            name: told(&names),
            media_type: told(&media_types),
        }
    }
}

impl<P> Frame<'_, P> {
    fn told(&self) -> &Told {
        self.told.get_or_init(|| Box::new(Told::of(self.value)))
    }
}

/// Whether a dialect says that a string at the pointer is a file.
fn is_expected<P>(dialect: Dialect, holder: &Frame<'_, P>, pointer: &str) -> bool {
    let mut steps = pointer.rsplit('/');
    let (last, around) = (steps.next().unwrap_or_default(), steps.next().unwrap_or_default());
    if holder.value.kind() == Kind::Array {
        // Ollama's messages.
        return dialect == Dialect::Ollama && around == "images";
    }
    match last {
        "file_data" | "b64_json" | "blob" => true,
        // Anthropic's source of type `text` holds the text as it is.
        "data" => {
            let told = holder.told();
            let of_file = matches!(around, "inlineData" | "inline_data" | "input_audio");
            !told.text && (told.base64 || told.typed || of_file)
        }
        "bytes" => around == "source",
        // Grok's upload in the browser.
        "content" => matches!(dialect, Dialect::Described(_)) && holder.told().upload,
        "audio" => holder.told().sound,
        _ => false,
    }
}

/// What can take the place of a file.
fn stand_in<P: Position>(
    dialect: Dialect,
    role: Role,
    depth: usize,
    expected: bool,
    text: &str,
    pointer: &str,
    frames: &[Frame<'_, P>],
) -> StandIn {
    // A JSON text in a string is read as it stands, and what a tool is called with is any JSON.
    if depth > 0 || role == Role::ToolArguments {
        return StandIn::Note(0..text.len());
    }
    let of_message = matches!(
        role,
        Role::System | Role::User | Role::Assistant | Role::ToolResult
    );
    let part = frames.windows(2).rev().find(|pair| {
        pair[1].value.kind() == Kind::Object
            && pair[0].value.kind() == Kind::Array
            && attachment::holds_parts(dialect, last_step(&pointer[..pair[0].pointer]))
            && !pointer[..pair[0].pointer].contains("/functionResponse/")
    });
    match (part, attachment::text_part(dialect, role)) {
        // What stands as a part's text is a text already.
        (Some(pair), Some(around)) if of_message && !is_text_of(&pair[1].value, pointer) => StandIn::Part {
            span: pair[1].value.span(),
            around,
        },
        _ if expected || (is_uri(text) && !is_words(pointer)) => StandIn::None,
        _ => StandIn::Note(0..text.len()),
    }
}

/// Whether the pointer leads to the text of a text part.
fn is_text_of(part: &Value<'_>, pointer: &str) -> bool {
    last_step(pointer) == "text" && part.get("text").is_some_and(|text| text.kind() == Kind::String)
}

/// Whether the pointer leads to what is a text in every dialect.
fn is_words(pointer: &str) -> bool {
    matches!(
        last_step(pointer),
        "text" | "content" | "input" | "prompt" | "instructions" | "system" | "output"
    )
}

fn is_uri(text: &str) -> bool {
    text.get(..5)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}

fn last_step(pointer: &str) -> &str {
    pointer.rsplit('/').next().unwrap_or_default()
}

/// The name and the media type that the objects around a file tell, the nearest first.
fn around<P>(frames: &[Frame<'_, P>]) -> (Option<Text>, Option<Text>) {
    let objects = || {
        frames
            .iter()
            .rev()
            .take(NAMED_AROUND)
            .filter(|frame| frame.value.kind() == Kind::Object)
            .map(Frame::told)
    };
    (
        objects().find_map(|told| told.name.clone()),
        objects().find_map(|told| told.media_type.clone()),
    )
}

impl Walk<'_> {
    /// Notes a piece of the body that is a file as it stands: a part of a form, or all of the body.
    pub(crate) fn attach(
        &mut self,
        role: Role,
        place: &str,
        name: Option<Text>,
        media_type: Option<Text>,
        bytes: Bytes,
        start: usize,
    ) -> Result<(), DecodeError> {
        if self.files.len() >= Limits::MOST_FILES {
            return Err(DecodeError::TooManyFiles {
                limit: Limits::MOST_FILES,
            });
        }
        let site = Site {
            layer: 0,
            spot: Spot::plain(start),
            number: false,
        };
        self.files.push(File {
            content: 0..bytes.len(),
            attachment: Attachment {
                place: Place::new(place),
                role,
                name,
                media_type,
                bytes: Some(bytes),
                // A note is no file of the kind that the part says it is.
                removable: false,
            },
            at: At::Own(site),
            alphabet: None,
            stand_in: StandIn::None,
            segments: 0..0,
            plain: None,
        });
        Ok(())
    }
}

impl Document {
    /// The files of the body, in its order.
    pub(crate) fn files(&self) -> impl ExactSizeIterator<Item = &Attachment> {
        self.files.iter().map(|file| &file.attachment)
    }

    /// Puts what was read out of a file behind the segments: each text with its way into the file.
    pub(crate) fn read_out(&mut self, file: usize, texts: Vec<(String, Text)>) {
        let Some(file) = self.files.get_mut(file) else {
            return;
        };
        let bytes = file.attachment.bytes.take().unwrap_or_default();
        if let [(_, text)] = texts.as_slice()
            && let Some(mark) = bytes.len().checked_sub(text.len())
            && bytes[mark..] == *text.as_bytes()
            && [&b""[..], b"\xEF\xBB\xBF"].contains(&&bytes[..mark])
        {
            file.plain = Some(bytes[..mark].to_vec());
        }
        let start = self.segments.len();
        let role = file.attachment.role;
        self.segments
            .extend(texts.into_iter().map(|(path, text)| Segment {
                place: Place::new(format!("file:{path}")),
                role,
                text,
            }));
        file.segments = start..self.segments.len();
    }

    /// What edits of segments that were read out of files come to in the body: the file is written anew
    /// where it is a text, and taken out where not. `edits` are in order and fit.
    pub(super) fn file_patches(&self, edits: &[&Edit]) -> Result<Vec<(Range<usize>, String)>, SpliceError> {
        let mut patches = Vec::new();
        for file in &self.files {
            let first = edits.partition_point(|edit| edit.segment < file.segments.start);
            let past = edits.partition_point(|edit| edit.segment < file.segments.end);
            let Some(edits) = edits.get(first..past).filter(|edits| !edits.is_empty()) else {
                continue;
            };
            patches.push(match &file.plain {
                Some(mark) => self.written_anew(file, mark, edits),
                None => self.taken_out(file, edits)?,
            });
        }
        Ok(patches)
    }

    fn site_of<'d>(&'d self, file: &'d File) -> &'d Site {
        match &file.at {
            At::Own(site) => site,
            At::Segment(segment) => &self.sites[*segment],
        }
    }

    fn written_anew(&self, file: &File, mark: &[u8], edits: &[&Edit]) -> (Range<usize>, String) {
        let text = &self.segments[file.segments.start].text;
        let mut bytes = mark.to_vec();
        bytes.extend_from_slice(super::edited(text, edits).as_bytes());
        let site = self.site_of(file);
        let span = self.in_body(site, file.content.clone());
        let written = match file.alphabet {
            Some(alphabet) => self.put(site, alphabet.encode(&bytes)),
            // What is written as it is was a text, and has been edited as one.
            None => String::from_utf8_lossy(&bytes).into_owned(),
        };
        (span, written)
    }

    fn taken_out(&self, file: &File, edits: &[&Edit]) -> Result<(Range<usize>, String), SpliceError> {
        let note = attachment::note(edits.iter().map(|edit| edit.replacement.as_str()));
        match &file.stand_in {
            StandIn::Part { span, around } => {
                let mut part = String::from(around.0);
                escape(&note, &mut part);
                part.push_str(around.1);
                let layer = self.site_of(file).layer;
                Ok((
                    self.outward(layer, span.start)..self.outward(layer, span.end),
                    self.written(part, layer),
                ))
            }
            StandIn::Note(span) => {
                let site = self.site_of(file);
                Ok((self.in_body(site, span.clone()), self.put(site, note)))
            }
            StandIn::None => Err(SpliceError::Irremovable(file.segments.start)),
        }
    }
}
