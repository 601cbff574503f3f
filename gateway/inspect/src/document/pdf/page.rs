//! What a page shows: its operators are followed as far as they place text.
//!
//! Strings come in the order in which they are drawn. Where the next one starts decides what is between
//! them: nothing, a space when there is a gap, or a line end when it is on another line. Forms that the page
//! draws are read as the page itself, and so are the looks of its annotations (stamps, filled-in fields).
//!
//! Limits: [`MOST_FORMS`] forms within forms; what forms unpack counts each time that they are drawn.
//!
//! On failure: a stream that cannot be unpacked or found marks the page as broken.

use std::{collections::HashMap, rc::Rc};

use lopdf::{Dictionary, Document, Object, Stream};

use super::{
    MOST_STEPS,
    font::Font,
    lexer::{Lexer, Word},
    unpacked,
};
use crate::document::{Problem, extraction::Extraction};

/// Forms within forms.
const MOST_FORMS: usize = 12;
/// States that are saved within one another.
const MOST_SAVED: usize = 512;
/// Operands that wait for their operator. No operator takes more, but an array of strings may be longer.
const MOST_OPERANDS: usize = 8192;

/// What is seen on a page.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) text: String,
    pub(super) pictures: bool,
    pub(super) unreadable: bool,
    pub(super) broken: bool,
}

/// Rows of a matrix: what x and y become, and where the origin goes.
type Matrix = [f64; 6];
const SAME: Matrix = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0];

/// The matrix that does first `a`, then `b`.
fn times(a: &Matrix, b: &Matrix) -> Matrix {
    [
        a[0] * b[0] + a[1] * b[2],
        a[0] * b[1] + a[1] * b[3],
        a[2] * b[0] + a[3] * b[2],
        a[2] * b[1] + a[3] * b[3],
        a[4] * b[0] + a[5] * b[2] + b[4],
        a[4] * b[1] + a[5] * b[3] + b[5],
    ]
}

#[derive(Clone)]
struct State {
    place: Matrix,
    font: Option<Rc<Font>>,
    size: f64,
    letters_apart: f64,
    words_apart: f64,
    stretch: f64,
    leading: f64,
}

pub(super) struct Drawing<'p> {
    pdf: &'p Document,
    /// Bytes of text that may come.
    most: usize,
    seen: Seen,
    state: State,
    text: Matrix,
    line: Matrix,
    /// Where the last string ended.
    end: Option<(f64, f64)>,
    fonts: HashMap<*const Dictionary, Rc<Font>>,
}

impl<'p> Drawing<'p> {
    pub(super) fn new(pdf: &'p Document, most: usize) -> Self {
        Self {
            pdf,
            most,
            seen: Seen::default(),
            state: State {
                place: SAME,
                font: None,
                size: 1.0,
                letters_apart: 0.0,
                words_apart: 0.0,
                stretch: 1.0,
                leading: 0.0,
            },
            text: SAME,
            line: SAME,
            end: None,
            fonts: HashMap::new(),
        }
    }

    pub(super) fn done(self) -> Seen {
        self.seen
    }

    pub(super) fn page(&mut self, run: &mut Extraction<'_>, page: &'p Dictionary) -> Result<(), Problem> {
        let resources = inherited(self.pdf, page, b"Resources");
        // One program in several streams: words may not be split between them, but states last.
        let mut program = Vec::new();
        for stream in self.streams(page.get(b"Contents").ok()) {
            match unpacked(run, stream) {
                Ok(bytes) => {
                    program.extend_from_slice(&bytes);
                    program.push(b'\n');
                }
                Err(problem) if problem.is_fatal() => return Err(problem),
                Err(_) => self.seen.broken = true,
            }
        }
        self.program(run, &program, resources, MOST_FORMS)?;
        let annotations = page.get_deref(b"Annots", self.pdf).and_then(Object::as_array);
        for annotation in annotations.into_iter().flatten() {
            run.in_time()?;
            let look = self
                .dictionary(annotation)
                .and_then(|annotation| self.dictionary(annotation.get(b"AP").ok()?)?.get(b"N").ok());
            let Some(Ok((_, look))) = look.map(|look| self.pdf.dereference(look)) else {
                continue;
            };
            match look {
                Object::Stream(form) => self.form(run, form, resources, MOST_FORMS)?,
                // One look for each state that a field may have.
                Object::Dictionary(looks) => {
                    for (_, look) in looks {
                        if let Ok((_, Object::Stream(form))) = self.pdf.dereference(look) {
                            self.form(run, form, resources, MOST_FORMS)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn dictionary(&self, object: &'p Object) -> Option<&'p Dictionary> {
        self.pdf.dereference(object).ok()?.1.as_dict().ok()
    }

    fn streams(&mut self, contents: Option<&'p Object>) -> Vec<&'p Stream> {
        let Some(contents) = contents else {
            return Vec::new();
        };
        let found = match self.pdf.dereference(contents) {
            Ok((_, Object::Array(each))) => each.iter().collect(),
            Ok((_, one)) => vec![one],
            Err(_) => {
                self.seen.broken = true;
                Vec::new()
            }
        };
        let mut streams = Vec::new();
        for object in found {
            match self.pdf.dereference(object) {
                Ok((_, Object::Stream(stream))) => streams.push(stream),
                Ok((_, Object::Null)) => {}
                _ => self.seen.broken = true,
            }
        }
        streams
    }

    fn form(
        &mut self,
        run: &mut Extraction<'_>,
        form: &'p Stream,
        around: Option<&'p Dictionary>,
        forms: usize,
    ) -> Result<(), Problem> {
        let Some(forms) = forms.checked_sub(1) else {
            self.seen.broken = true;
            return Ok(());
        };
        let program = match unpacked(run, form) {
            Ok(program) => program,
            Err(problem) if problem.is_fatal() => return Err(problem),
            Err(_) => {
                self.seen.broken = true;
                return Ok(());
            }
        };
        let own = form
            .dict
            .get(b"Resources")
            .ok()
            .and_then(|own| self.dictionary(own));
        let saved = (self.state.clone(), self.text, self.line);
        let matrix = form
            .dict
            .get_deref(b"Matrix", self.pdf)
            .and_then(Object::as_array)
            .ok();
        if let Some(numbers) = matrix {
            let mut of = SAME;
            for (place, number) in of.iter_mut().zip(numbers) {
                *place = number.as_float().map_or(*place, f64::from);
            }
            self.state.place = times(&of, &self.state.place);
        }
        self.program(run, &program, own.or(around), forms)?;
        (self.state, self.text, self.line) = saved;
        Ok(())
    }

    fn program(
        &mut self,
        run: &mut Extraction<'_>,
        program: &[u8],
        resources: Option<&'p Dictionary>,
        forms: usize,
    ) -> Result<(), Problem> {
        let mut saved: Vec<State> = Vec::new();
        // Saved states beyond the limit, which come back as what is there.
        let mut unsaved = 0_usize;
        let mut operands: Vec<Word<'_>> = Vec::new();
        let mut lexer = Lexer::new(program);
        let mut count = 0_usize;
        while let Some(word) = lexer.next() {
            let Word::Operator(operator) = word else {
                operands.push(word);
                if operands.len() == MOST_OPERANDS {
                    self.strings(&operands);
                    operands.clear();
                }
                continue;
            };
            count += 1;
            if count.is_multiple_of(4096) {
                run.in_time()?;
            }
            if self.seen.text.len() > self.most {
                return Err(Problem::Limit("bytes of text"));
            }
            match operator {
                b"q" if saved.len() == MOST_SAVED => unsaved += 1,
                b"q" => saved.push(self.state.clone()),
                b"Q" if unsaved > 0 => unsaved -= 1,
                b"Q" => {
                    if let Some(state) = saved.pop() {
                        self.state = state;
                    }
                }
                b"Do" => {
                    if let Some(Word::Name(name)) = operands.last() {
                        self.draw(run, name, resources, forms)?;
                    }
                }
                b"ID" => {
                    lexer.skip_picture();
                    self.seen.pictures = true;
                }
                b"Tf" => {
                    if let [.., Word::Name(name), Word::Number(size)] = operands.as_slice() {
                        self.state.size = *size;
                        self.state.font = self.font(run, name, resources)?;
                    }
                }
                _ => self.operator(operator, &operands),
            }
            operands.clear();
        }
        Ok(())
    }

    fn operator(&mut self, operator: &[u8], operands: &[Word<'_>]) {
        let mut numbers = [0.0; 6];
        let mut many = 0;
        for word in operands {
            if let (Word::Number(number), Some(place)) = (word, numbers.get_mut(many)) {
                *place = *number;
                many += 1;
            }
        }
        let [first, second, ..] = numbers;
        match operator {
            b"cm" if many == 6 => self.state.place = times(&numbers, &self.state.place),
            b"BT" => (self.text, self.line) = (SAME, SAME),
            b"Tm" if many == 6 => (self.text, self.line) = (numbers, numbers),
            b"Td" => self.next_line(first, second),
            b"TD" => {
                self.state.leading = -second;
                self.next_line(first, second);
            }
            b"T*" => self.next_line(0.0, -self.state.leading),
            b"TL" => self.state.leading = first,
            b"Tc" => self.state.letters_apart = first,
            b"Tw" => self.state.words_apart = first,
            b"Tz" => self.state.stretch = first / 100.0,
            b"Tj" | b"TJ" => self.strings(operands),
            b"'" => {
                self.next_line(0.0, -self.state.leading);
                self.strings(operands);
            }
            b"\"" => {
                (self.state.words_apart, self.state.letters_apart) = (first, second);
                self.next_line(0.0, -self.state.leading);
                // The two numbers are no distances here.
                let string = operands.iter().rposition(|word| matches!(word, Word::String(_)));
                self.strings(string.map_or(&[], |at| &operands[at..]));
            }
            // What marks content may say what it reads as.
            b"BDC" | b"DP" => {
                for word in operands {
                    if let Word::String(string) = word
                        && let Ok(text) = lopdf::decode_text_string(&Object::String(
                            string.clone(),
                            lopdf::StringFormat::Literal,
                        ))
                    {
                        self.seen.text.push_str(&text);
                    }
                }
            }
            _ => {}
        }
    }

    fn next_line(&mut self, x: f64, y: f64) {
        self.line = times(&[1.0, 0.0, 0.0, 1.0, x, y], &self.line);
        self.text = self.line;
    }

    /// Shows strings, moved apart by the numbers between them.
    fn strings(&mut self, operands: &[Word<'_>]) {
        for word in operands {
            match word {
                Word::String(bytes) => self.show(bytes),
                Word::Number(back) => {
                    let by = -back / 1000.0 * self.state.size * self.state.stretch;
                    self.text = times(&[1.0, 0.0, 0.0, 1.0, by, 0.0], &self.text);
                }
                _ => {}
            }
        }
    }

    fn show(&mut self, bytes: &[u8]) {
        let Some(font) = self.state.font.clone() else {
            self.seen.unreadable |= !bytes.is_empty();
            return;
        };
        if !font.is_readable() {
            self.seen.unreadable |= !bytes.is_empty();
            return;
        }
        let place = times(&self.text, &self.state.place);
        self.part((place[4], place[5]), (place[0], place[1]));
        let (width, many, spaces) = font.show(bytes, &mut self.seen.text, self.most);
        let by = (width * self.state.size
            + many as f64 * self.state.letters_apart
            + spaces as f64 * self.state.words_apart)
            * self.state.stretch;
        self.text = times(&[1.0, 0.0, 0.0, 1.0, by, 0.0], &self.text);
        let end = times(&self.text, &self.state.place);
        self.end = Some((end[4], end[5]));
    }

    /// Puts between two strings what the eye sees there. `along` is the direction in which text runs.
    fn part(&mut self, start: (f64, f64), along: (f64, f64)) {
        let Some(end) = self.end else { return };
        let length = along.0.hypot(along.1);
        let em = length * self.state.size.abs();
        if !(em.is_finite() && em > 0.0) {
            return;
        }
        let (dx, dy) = (start.0 - end.0, start.1 - end.1);
        let forward = (dx * along.0 + dy * along.1) / length / em;
        let across = (dy * along.0 - dx * along.1) / length / em;
        let text = &mut self.seen.text;
        if across.abs() > 0.6 || forward < -1.5 {
            if !text.ends_with('\n') {
                text.push('\n');
            }
        } else if forward > 0.17 && !text.ends_with([' ', '\n', '\t']) {
            // Columns of a table are far apart.
            text.push(if forward > 3.0 { '\t' } else { ' ' });
        }
    }

    fn draw(
        &mut self,
        run: &mut Extraction<'_>,
        name: &[u8],
        resources: Option<&'p Dictionary>,
        forms: usize,
    ) -> Result<(), Problem> {
        let found = resources
            .and_then(|resources| self.dictionary(resources.get(b"XObject").ok()?)?.get(name).ok())
            .map(|object| self.pdf.dereference(object));
        let Some(Ok((_, Object::Stream(stream)))) = found else {
            self.seen.broken = true;
            return Ok(());
        };
        if stream
            .dict
            .get(b"Subtype")
            .and_then(Object::as_name)
            .is_ok_and(|kind| kind == b"Image")
        {
            self.seen.pictures = true;
            return Ok(());
        }
        self.form(run, stream, resources, forms)
    }

    fn font(
        &mut self,
        run: &mut Extraction<'_>,
        name: &[u8],
        resources: Option<&'p Dictionary>,
    ) -> Result<Option<Rc<Font>>, Problem> {
        let found = resources
            .and_then(|resources| self.dictionary(resources.get(b"Font").ok()?)?.get(name).ok())
            .and_then(|font| self.dictionary(font));
        let Some(dictionary) = found else {
            return Ok(None);
        };
        if let Some(font) = self.fonts.get(&std::ptr::from_ref(dictionary)) {
            return Ok(Some(font.clone()));
        }
        let map = match dictionary
            .get_deref(b"ToUnicode", self.pdf)
            .and_then(Object::as_stream)
        {
            Ok(stream) => match unpacked(run, stream) {
                Ok(map) => Some(map),
                Err(problem) if problem.is_fatal() => return Err(problem),
                Err(_) => None,
            },
            Err(_) => None,
        };
        let font = Rc::new(Font::new(dictionary, self.pdf, map.as_deref()));
        self.fonts.insert(std::ptr::from_ref(dictionary), font.clone());
        Ok(Some(font))
    }
}

/// What a page says itself or inherits from the tree above it.
fn inherited<'p>(pdf: &'p Document, page: &'p Dictionary, key: &[u8]) -> Option<&'p Dictionary> {
    let mut node = page;
    for _ in 0..MOST_STEPS {
        if let Ok(found) = node.get_deref(key, pdf).and_then(Object::as_dict) {
            return Some(found);
        }
        node = node.get_deref(b"Parent", pdf).and_then(Object::as_dict).ok()?;
    }
    None
}
