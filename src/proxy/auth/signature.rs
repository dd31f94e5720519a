//! Whether a token is signed with a key: the cryptography of `jsonwebtoken`, by ring.

use jsonwebtoken::crypto::{CryptoProvider, JwkUtils, JwtSigner, JwtVerifier};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{Error as SignatureError, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::hmac;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};

/// Installed once for the process.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    // For keys that are made into JWKs. None is made here.
    jwk_utils: JwkUtils::new_unimplemented(),
};

/// Makes this the cryptography of `jsonwebtoken`. May be called again.
pub fn install() {
    // Err: it is installed already.
    let _ = PROVIDER.install_default();
}

/// No token is made here.
fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(ErrorKind::InvalidAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(ByRing {
        algorithm: *algorithm,
        key: key.clone(),
    }))
}

/// A key and what it is used for.
struct ByRing {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtVerifier for ByRing {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for ByRing {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        let wrong = |_| SignatureError::new();
        match (kind_of(self.algorithm), self.key.kind()) {
            (Kind::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => RsaPublicKeyComponents { n, e }
                .verify(parameters, message, signature)
                .map_err(wrong),
            (Kind::Curve(algorithm), DecodingKeyKind::SecretOrDer(point)) => UnparsedPublicKey::new(algorithm, point)
                .verify(message, signature)
                .map_err(wrong),
            (Kind::Secret(algorithm), DecodingKeyKind::SecretOrDer(secret)) => {
                hmac::verify(&hmac::Key::new(algorithm, secret), message, signature).map_err(wrong)
            }
            _ => Err(SignatureError::new()),
        }
    }
}

enum Kind {
    Rsa(&'static RsaParameters),
    Curve(&'static dyn VerificationAlgorithm),
    Secret(hmac::Algorithm),
}

/// RSA keys of fewer than 2048 bits prove nothing.
fn kind_of(algorithm: Algorithm) -> Kind {
    match algorithm {
        Algorithm::RS256 => Kind::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Kind::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Kind::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Kind::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Kind::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Kind::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => Kind::Curve(&signature::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Kind::Curve(&signature::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Kind::Curve(&signature::ED25519),
        Algorithm::HS256 => Kind::Secret(hmac::HMAC_SHA256),
        Algorithm::HS384 => Kind::Secret(hmac::HMAC_SHA384),
        Algorithm::HS512 => Kind::Secret(hmac::HMAC_SHA512),
    }
}
