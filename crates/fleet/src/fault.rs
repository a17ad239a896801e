//! What fails on bikes and cars.

use serde_json::{Value, json};

/// Something that can fail.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Its code.
    pub(crate) code: &'static str,
    /// `info`, `warning`, `error` or `critical`.
    pub(crate) severity: &'static str,
    /// The kind of component.
    pub(crate) component: &'static str,
    message: &'static str,
    /// How often, compared with the others.
    weight: f64,
}

const fn failure(
    code: &'static str,
    severity: &'static str,
    component: &'static str,
    message: &'static str,
    weight: f64,
) -> Failure {
    Failure { code, severity, component, message, weight }
}

/// Of bikes.
static BIKE: [Failure; 9] = [
    failure("E-0112", "warning", "motor", "motor temperature above 95 °C, assistance reduced", 5.0),
    failure("E-0118", "error", "motor", "torque sensor out of range", 1.5),
    failure("E-0204", "warning", "battery", "cell temperature below 0 °C, charging refused", 3.0),
    failure("E-0207", "error", "battery", "cell imbalance above 80 mV", 1.5),
    failure("E-0301", "warning", "brake", "brake pads worn", 4.0),
    failure("E-0415", "info", "display", "ambient light sensor not plausible", 4.0),
    failure("E-0421", "error", "display", "no answer on the bus", 1.0),
    failure("E-0502", "warning", "lock", "bolt needed three attempts", 3.0),
    failure("E-0609", "critical", "controller", "watchdog restart, odometer lost", 0.8),
];

/// Of cars.
static CAR: [Failure; 7] = [
    failure("P0A80", "error", "battery", "deterioration of the traction battery", 0.6),
    failure("P0AA6", "critical", "battery", "isolation fault of the high voltage", 0.3),
    failure("P1E00", "warning", "charger", "charging current reduced", 3.0),
    failure("C0035", "warning", "brake", "left front wheel speed sensor", 2.0),
    failure("C0750", "info", "tire", "tire pressure low", 6.0),
    failure("U0140", "warning", "modem", "lost communication with body control", 2.0),
    failure("B1342", "error", "modem", "telematics control unit defect", 0.5),
];

/// A failure of a bike, for a number from 0 to 1.
pub(crate) fn of_bike(drawn: f64) -> Option<&'static Failure> {
    pick(&BIKE, drawn)
}

/// A failure of a car, for a number from 0 to 1.
pub(crate) fn of_car(drawn: f64) -> Option<&'static Failure> {
    pick(&CAR, drawn)
}

fn pick(of: &'static [Failure], drawn: f64) -> Option<&'static Failure> {
    let mut left = drawn * of.iter().map(|failure| failure.weight).sum::<f64>();
    of.iter().find(|failure| {
        left -= failure.weight;
        left < 0.0
    })
}

impl Failure {
    /// Whether the vehicle goes to a workshop, which puts another component in.
    pub(crate) fn is_grave(&self) -> bool {
        matches!(self.severity, "error" | "critical")
    }

    /// The fields that tell of it, in the order of the stream `fault`.
    pub(crate) fn values(&self) -> [&'static str; 4] {
        [self.code, self.severity, self.component, self.message]
    }

    /// What the device says of it.
    pub(crate) fn fields(&self) -> Value {
        let [code, severity, component, message] = self.values();
        json!({
            "code": code, "severity": severity, "component": component, "message": message,
        })
    }
}
