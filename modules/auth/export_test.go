package auth

// VerifyToken is CheckToken without the session.
func (s *Service) VerifyToken(token string) (Claims, error) { return s.signer.verify(token) }
