//! The name of a file in its entry. Of a million names nearly all are short: those stand in the
//! entry itself and need no allocation.

/// Longest name that needs none, bytes: what makes it as large as three words.
const SHORT: usize = 22;

/// See the module's head.
#[derive(Debug)]
pub struct Name(Bytes);

#[derive(Debug)]
enum Bytes {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

impl Name {
    /// Keeps these bytes.
    pub fn new(name: &[u8]) -> Name {
        let mut bytes = [0; SHORT];
        match (u8::try_from(name.len()), bytes.get_mut(..name.len())) {
            (Ok(len), Some(room)) => {
                room.copy_from_slice(name);
                Name(Bytes::Short { len, bytes })
            }
            _ => Name(Bytes::Long(name.into())),
        }
    }

    /// The bytes that were kept.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short { len, bytes } => &bytes[..usize::from(*len)],
            Bytes::Long(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_length_come_back() {
        for len in 0..=300 {
            let name: Vec<u8> = (0..len).map(|n| (n % 251) as u8 + 1).collect();
            assert_eq!(Name::new(&name).as_bytes(), name);
        }
        assert!(size_of::<Name>() <= 24, "{} bytes", size_of::<Name>());
    }
}
