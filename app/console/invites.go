package console

// inviteRoutes are the pages about invites.
func (c *Console) inviteRoutes() []route { return nil }
