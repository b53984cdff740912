"""A worker: parcels are packed once, and those that can't be packed come again."""

import os

from zbus import Client, ZbusError

zbus = Client(os.environ.get("ZBUS_SERVER", "http://127.0.0.1:15555"))
try:
    zbus.create_topic("parcels")
    zbus.create_group("parcels", "packers", settle="explicit", start="earliest")
except ZbusError as e:
    if e.code != "exists":
        raise

for number in range(3):
    zbus.publish("parcels", f"parcel {number}", id=f"parcel-{number}")  # once, however often this is run

while parcels := zbus.pull("parcels", "packers", max=10, timeout=1):
    for p in parcels:
        if p.id == "parcel-1" and p.delivery_count == 1:
            print("no tape for", p.body.decode())
            p.nack()
            continue
        print("packed", p.body.decode())
        p.ack()
