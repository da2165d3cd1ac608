-- Products asks before it lets a reservation expire: an order may stand on it whose event is still
-- on its way. Equality only, and the ids are spread at random, so a hash index is the smaller one.

CREATE INDEX orders_reservation_id ON orders USING hash (reservation_id);
