package console

// userRoutes are the pages about users.
func (c *Console) userRoutes() []route { return nil }
