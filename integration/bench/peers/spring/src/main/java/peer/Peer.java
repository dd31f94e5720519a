package peer;

import org.springframework.boot.Banner;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.WebApplicationType;
import org.springframework.boot.autoconfigure.SpringBootApplication;

/** HTTP through Kafka with Spring: a gateway (the role "front") or a replier ("processor"). */
@SpringBootApplication
public class Peer {

    public static void main(String[] args) {
        var application = new SpringApplication(Peer.class);
        application.setBannerMode(Banner.Mode.OFF);
        application.setAdditionalProfiles(args[0]);
        if (args[0].equals("processor")) {
            application.setWebApplicationType(WebApplicationType.NONE);
        }
        application.run();
        if (args[0].equals("processor")) {
            System.out.println("ready 0");
        }
    }
}
