package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
)

// ErrSealed is about what a key cannot open.
var ErrSealed = errors.New("keyring: sealed by another key, for something else, or damaged")

// Seal encrypts what is to be kept where others may read (AES-256-GCM under a random nonce). Only the same key opens it,
// and only as what it was sealed for.
func (k Key) Seal(plain []byte, what string) []byte {
	return k.aead().Seal(nil, nil, plain, []byte(what))
}

// Open returns what Seal was given: ErrSealed if the key is another, if it was sealed for something else, or if anything
// of it was changed.
func (k Key) Open(sealed []byte, what string) ([]byte, error) {
	plain, err := k.aead().Open(nil, nil, sealed, []byte(what))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

func (k Key) aead() cipher.AEAD {
	block, err := aes.NewCipher(k.Bytes)
	if err != nil {
		panic(err) // only for a length that no key has
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // likewise
	}
	return aead
}
